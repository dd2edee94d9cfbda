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

    With `parts` it is these SELECTs, which do not depend on each other; their rows come back as one list for each. On
    PostgreSQL they travel together, and see the same rows. What waits for others goes `alone`.
    """

    sql: str
    args: Sequence[Any]
    many: bool = False
    table: str = ""
    columns: tuple[str, ...] = ()
    rows: Iterable[tuple[Any, ...]] | None = None
    parts: tuple[Statement, ...] = ()
    alone: bool = False

    @property
    def is_look(self) -> bool:
        """Whether it may travel with others."""
        plain = not (self.many or self.alone) and self.rows is None
        return bool(self.parts) or (plain and self.sql.startswith("SELECT"))


Steps = Generator[Statement, Sequence[Any], T]


def together(*several: Steps[Any]) -> Steps[list[Any]]:
    """The results of steps that do not depend on each other. SELECTs for which they wait at the same time travel as
    one. The error of one ends all of them.
    """
    results: list[Any] = [None] * len(several)
    waiting: dict[int, Statement] = {}

    def advance(number: int, rows: Sequence[Any] | None) -> None:
        waiting.pop(number, None)
        try:
            waiting[number] = next(several[number]) if rows is None else several[number].send(rows)
        except StopIteration as stop:
            results[number] = stop.value

    try:
        for number in range(len(several)):
            advance(number, None)
        while waiting:
            looks = [number for number, statement in sorted(waiting.items()) if statement.is_look]
            if len(looks) < 2:
                number, statement = min(waiting.items())
                advance(number, (yield statement))
            else:
                parts = [part for number in looks for part in waiting[number].parts or (waiting[number],)]
                rows = iter((yield Statement("", (), parts=tuple(parts))))
                for number in looks:
                    within = waiting[number].parts
                    advance(number, [next(rows) for _ in within] if within else next(rows))
    finally:
        for steps in several:
            steps.close()
    return results


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
