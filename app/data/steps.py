"""A unit of database work as a generator: it yields statements and is sent their rows, and does no input or output
itself.

So one piece of code runs statement by statement on asyncpg, in a single hop on SQLite's thread, and under a test that
drives it by hand.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from app.errors import BroadsheetError

T = TypeVar("T")


class Statement(NamedTuple):
    """Driver SQL with its arguments. With `many`, `args` is a list of argument tuples, and the rows of all runs come
    back in order. A write names its table and the columns of its arguments, for errors that do not.

    With `rows`, `sql` is the INSERT of one of them. They are gone through once, while the database writes, and nothing
    comes back: COPY into `columns` of `table` on PostgreSQL, executemany on SQLite.
    """

    sql: str
    args: Sequence[Any]
    many: bool = False
    table: str = ""
    columns: tuple[str, ...] = ()
    rows: Iterable[tuple[Any, ...]] | None = None


Steps = Generator[Statement, Sequence[Any], T]


def single(statement: Statement) -> Steps[Sequence[Any]]:
    """The rows of one statement."""
    return (yield statement)


def whole(steps: Steps[T]) -> Steps[T]:
    """The same steps, of which nothing is left where they refuse. An error of the database is none of theirs."""
    yield Statement("SAVEPOINT steps", ())
    try:
        result = yield from steps
    except BroadsheetError:
        yield Statement("ROLLBACK TO steps", ())
        raise
    yield Statement("RELEASE steps", ())
    return result
