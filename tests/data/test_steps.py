"""Steps that run at the same time: what travels together, and that each sees only its own rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from app.data.database import Database
from app.data.joining import joined
from app.data.rules import SYSTEM
from app.data.steps import Statement, Steps, together
from app.errors import NotFound
from tests.conftest import Statements


def asked(*texts: str) -> Steps[list[Any]]:
    """The rows of these statements, one after the other."""
    found = []
    for text in texts:
        found.append((yield Statement(text, ())))
    return found


def driven(steps: Steps[Any]) -> tuple[list[tuple[str, ...]], Any]:
    """What travelled together, and the result, where each statement's rows are its text."""
    journeys: list[tuple[str, ...]] = []
    try:
        statement = next(steps)
        while True:
            journeys.append(tuple(part.sql for part in statement.parts or (statement,)))
            rows: Sequence[Any] = [part.sql for part in statement.parts] if statement.parts else statement.sql
            statement = steps.send(rows)
    except StopIteration as stop:
        return journeys, stop.value


def test_selects_that_wait_at_the_same_time_travel_together() -> None:
    journeys, results = driven(together(asked("SELECT 1", "SELECT 2"), asked("SELECT 3"), asked()))
    assert journeys == [("SELECT 1", "SELECT 3"), ("SELECT 2",)]
    assert results == [["SELECT 1", "SELECT 2"], ["SELECT 3"], []]


def test_those_that_travel_together_travel_with_others() -> None:
    inner = together(asked("SELECT 1", "SELECT 2"), asked("SELECT 3"))
    journeys, results = driven(together(asked("SELECT 0"), inner))
    assert journeys == [("SELECT 0", "SELECT 1", "SELECT 3"), ("SELECT 2",)]
    assert results == [["SELECT 0"], [["SELECT 1", "SELECT 2"], ["SELECT 3"]]]


def test_what_writes_or_waits_travels_alone() -> None:
    def locking() -> Steps[None]:
        yield Statement("SELECT lock", (), alone=True)

    journeys, _ = driven(together(asked("INSERT 1", "SELECT 1"), locking(), asked("SELECT 2")))
    assert sorted(journeys) == [("INSERT 1",), ("SELECT 1", "SELECT 2"), ("SELECT lock",)]


def test_error_of_one_ends_all() -> None:
    closed = []

    def refusing() -> Steps[None]:
        yield Statement("SELECT 1", ())
        raise NotFound("no row")

    def waiting() -> Steps[None]:
        try:
            yield Statement("SELECT 2", ())
            yield Statement("SELECT 3", ())
        finally:
            closed.append("waiting")

    with pytest.raises(NotFound):
        driven(together(refusing(), waiting()))
    assert closed == ["waiting"]


def test_places_are_moved_but_not_in_what_is_quoted() -> None:
    parts = (Statement("SELECT $1, $2, $1", (1, 2)), Statement("""SELECT '$1 it''s $1', "$1" WHERE $1""", (3,)))
    text, *arguments = joined(parts)
    assert "SELECT $1, $2, $1" in text
    assert """SELECT '$1 it''s $1', "$1" WHERE $3""" in text
    assert arguments == [1, 2, 3]


async def test_rows_are_those_of_each_statement(database: Database, statements: Statements) -> None:
    place = "?" if database.name == "sqlite" else "$1::integer"

    def several() -> Steps[list[Any]]:
        return together(*[one(number) for number in (1, 2, 3)])

    def one(number: int) -> Steps[list[tuple[Any, ...]]]:
        rows = yield Statement(f"SELECT {place} AS n, NULL, 'x' UNION ALL SELECT 0, NULL, NULL ORDER BY 1", (number,))
        return [tuple(row) for row in rows]

    statements.clear()
    found = await database.read(SYSTEM, several)
    assert found == [[(0, None, None), (number, None, "x")] for number in (1, 2, 3)]
    assert statements.count == 3


async def test_no_rows_are_an_empty_list(database: Database) -> None:
    found = await database.read(SYSTEM, lambda: together(asked("SELECT 1 WHERE 1 = 0"), asked("SELECT 1 WHERE 1 = 0")))
    assert [[list(rows) for rows in one] for one in found] == [[[]], [[]]]


async def test_values_are_what_they_are_alone(database: Database) -> None:
    """Every type that a column may have: within a record nothing but its number says what a value is."""
    if database.name == "sqlite":
        pytest.skip("nothing is put into one there")
    values = (
        "1::smallint, 2::integer, 3::bigint, 1.50::numeric, 1.5::double precision, true, 'x'::text, 'y'::varchar(9),"
        " '2026-01-02 03:04:05.678+00'::timestamptz, '2026-01-02'::date, '0123456789abcdef0123456789abcdef'::uuid,"
        """ '{"a": [1]}'::json, '{"a": [1]}'::jsonb, ARRAY[1, 2], ARRAY['a', NULL], NULL::text"""
    )

    def twice() -> Steps[list[Any]]:
        return together(asked(f"SELECT {values}"), asked(f"SELECT {values}"))

    (alone,) = await database.read(SYSTEM, lambda: asked(f"SELECT {values}"))
    both = await database.read(SYSTEM, twice)
    assert [[[tuple(row) for row in rows] for rows in one] for one in both] == [[[tuple(alone[0])]]] * 2
