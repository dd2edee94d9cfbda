"""What a caller may not see changes no answer, whatever is asked and with whatever key or token: two installations that
differ in nothing else answer with the same status, headers and bytes, on every surface, to reads and to writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from random import Random

import pytest

from app.data.database import Database
from app.settings import Settings
from tests.query.rows import Row
from tests.security.asking import answers, features, installation, leaks, settled
from tests.security.callers import KINDS, Kind
from tests.security.pokes import own_writes, pokes
from tests.security.probes import Question, reads
from tests.security.state import State, changes, state_of
from tests.security.worlds import NEXT, worlds

# Requests of the grammar for each caller and database, with twice as many others. Set it to some thousands for long.
REQUESTS, EACH = int(os.environ.get("BROADSHEET_TEST_REQUESTS", "40")), 200
RUNS = [(name, seed) for name in KINDS for seed in range(max(1, REQUESTS // EACH))]


@pytest.mark.parametrize(("name", "seed"), RUNS)
async def test_what_is_hidden_changes_no_answer(
    settings: Settings, database: Database, hashed: str, name: str, seed: int
) -> None:
    kind = KINDS[name]
    both = worlds(seed, kind, hashed)
    asked = reads(Random(f"{seed} {name}"), both, kind, min(REQUESTS, EACH))
    async with installation(settings, database) as here:
        one, other = [await answers(here, await settled(here, kind, world), asked) for world in both]
    report(kind, database, asked, found := leaks(asked, one, other))
    assert not found, "\n".join(found[:5])
    statuses = [told[0] for told in one]
    assert max(statuses) < 500
    assert statuses.count(200) + statuses.count(206) > len(statuses) / 5


@pytest.mark.parametrize(("name", "seed"), RUNS)
async def test_a_row_that_is_hidden_is_written_like_one_that_is_not_there(
    settings: Settings, database: Database, hashed: str, name: str, seed: int
) -> None:
    """By no verb does it change, nor anything else."""
    kind = KINDS[name]
    both = worlds(seed, kind, hashed)
    asked = pokes(Random(f"{seed} {name}"), both, kind, min(REQUESTS, EACH))
    told = []
    async with installation(settings, database) as here:
        for world in both:
            who = await settled(here, kind, world)
            before = await state_of(database)
            told.append(await answers(here, who, asked))
            assert list(changes(before, await state_of(database))) == []
    report(kind, database, asked, found := leaks(asked, *told))
    assert not found, "\n".join(found[:5])
    assert max(status for status, *_ in told[0]) < 500


@pytest.mark.parametrize("name", KINDS)
async def test_what_is_hidden_changes_no_answer_to_a_write(
    settings: Settings, database: Database, hashed: str, name: str
) -> None:
    """Nor does a write reach more than what is the caller's own."""
    kind = KINDS[name]
    both = worlds(0, kind, hashed)
    asked = list(own_writes(both, kind))
    told = []
    async with installation(settings, database) as here:
        for world in both:
            who = await settled(here, kind, world)
            before = await state_of(database)
            told.append(await answers(here, who, asked))
            assert list(foreign(before, await state_of(database), kind.sees.me)) == []
    report(kind, database, asked, found := leaks(asked, *told))
    assert not found, "\n".join(found[:5])
    assert max(status for status, *_ in told[0]) < 500


@pytest.mark.parametrize("name", KINDS)
def test_the_worlds_differ_in_every_table_that_hides_something(name: str) -> None:
    kind = KINDS[name]
    one, other = worlds(0, kind, "hash")
    assert one.keys() == other.keys()
    same = {model.__tablename__ for model in one if one[model] == other[model]}
    assert same == (set() if kind.scopes else {"tags"})


def foreign(before: State, after: State, me: int) -> Iterator[tuple[str, Row | None, Row | None]]:
    """The changes that are neither in the caller's own rows nor new ones of whoever registers."""
    own_posts = {row["id"] for row in [*before["posts"].values(), *after["posts"].values()] if row["user_id"] == me}
    for table, old, new in changes(before, after):
        row = new or old or {}
        match table:
            case "users" | "credentials" | "sessions":
                person = row["id"] if table == "users" else row["user_id"]
                own = person == me or person >= NEXT
            case "posts" | "post_tags":
                own = row["id" if table == "posts" else "post_id"] in own_posts
            case _:
                own = old is None and table in ("tags", "revisions")
        if not own:
            yield table, old, new


def report(kind: Kind, database: Database, asked: list[Question], found: list[str]) -> None:
    print(f"{kind.name}, {database.name}: {len(asked)} requests, {len(features(asked))} features, {len(found)} leaks")
