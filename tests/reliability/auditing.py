"""T27, the audit trail: every route that changes something, as it is meant, refused, undone by the caller, in batches,
and cancelled on its way. Exactly what changed is told by revisions and transfers, with who and when, before and after;
what was not kept is not told. A route that is described and not tried is found, too.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from app.data import failpoints
from app.data.failpoints import Point
from app.http.context import Call
from app.query import removal, writer
from tests.reliability.blog.kept import PostgresKept, SqliteKept, Tables, open_kept
from tests.reliability.deeds import accounts, rows
from tests.reliability.deeds.world import Deed, Request, World, opened
from tests.reliability.guards import replaced
from tests.reliability.history import some
from tests.reliability.trail import Stamp, leaked, left_behind, moved, untold
from tests.reliability.trial import Conditions, Figures, Trial

REST = "/rest/v1"
METHODS = ("post", "put", "patch", "delete")
DEEDS = dict([*rows.deeds(""), *rows.items(), *rows.deeds(REST), *accounts.deeds()])
KEPT = (Point.COMMITTED, Point.SENDING)  # who is cancelled here has changed what was to be changed
ROUNDS = 20  # of the long form
STATEMENTS = 15  # about as many as a request takes
BRIEF = 8  # routes where a guard is missing
SUCCESS, REDIRECT, REFUSAL = range(200, 300), range(200, 400), range(400, 500)


class Stuck(Exception):
    """Nobody can write any more, so there is nothing else to be tried."""


@dataclass(slots=True)
class Inquiry:
    """A run of the trial."""

    world: World
    kept: SqliteKept | PostgresKept
    figures: Figures
    random: Random
    counts: Counter[str] = field(default_factory=Counter)
    ended: int = 0  # requests that were in fact cancelled


async def work(conditions: Conditions) -> Figures:
    figures = Figures()
    long = conditions.long and conditions.without is None
    async with opened(conditions.url, conditions.folder) as world, reading(conditions.url) as kept:
        inquiry = Inquiry(world, kept, figures, Random(conditions.seed))
        some(figures, await undescribed(world))
        for _ in range(ROUNDS if long else 1):
            names = inquiry.random.sample(list(DEEDS), BRIEF if conditions.without else len(DEEDS))
            try:
                for name in names:
                    await look_into(inquiry, name, DEEDS[name], cancels=conditions.without is None)
            except Stuck as stuck:
                figures.violations.append(str(stuck))
                break
        await world.database.pools.settled()
        figures.expect(world.database.in_use == 0, f"{world.database.in_use} connections are still out")
    figures.counts |= {"deeds": len(DEEDS), "requests": inquiry.counts.total(), **inquiry.counts}
    figures.counts["ended by a cancel"] = inquiry.ended
    return figures


@asynccontextmanager
async def reading(url: str) -> AsyncGenerator[SqliteKept | PostgresKept]:
    kept = await open_kept(url)
    try:
        yield kept
    finally:
        await kept.close()


async def undescribed(world: World) -> list[str]:
    """Routes of both descriptions, as the secret key sees them, of which there is no deed."""
    tried = {" ".join(name.split(" ")[:2]) for name in DEEDS}
    found = []
    for document, prefix in (("/openapi.json", ""), (f"{REST}/", REST)):
        paths = (await world.done(Request("GET", document)))["paths"]
        routes = {f"{method.upper()} {prefix}{path}" for path in paths for method in METHODS if method in paths[path]}
        found += [f"{route} is described in {document} and not tried" for route in sorted(routes - tried)]
    return found


async def look_into(inquiry: Inquiry, name: str, deed: Deed, *, cancels: bool) -> None:
    """Each way begins with rows of its own."""
    await inquiry.world.clear()
    await _do(inquiry, name, deed)
    await _refuse(inquiry, name, deed)
    if not name.split(" ")[1].startswith(accounts.AUTH):
        await _undo(inquiry, name, deed)
        await _put_in_batches(inquiry, name, deed)
    for point in Point if cancels else ():
        await _cancel(inquiry, name, deed, point)
    if cancels:
        await _interrupt(inquiry, name, deed, inquiry.random.randint(1, STATEMENTS))


# ---- the ways -------------------------------------------------------------------------------------------------------


async def _do(inquiry: Inquiry, name: str, deed: Deed) -> None:
    act = await deed.make(inquiry.world)
    await _answered(inquiry, name, "done", deed, act.request, REDIRECT)


async def _refuse(inquiry: Inquiry, name: str, deed: Deed) -> None:
    """For what it asks, and for who asks."""
    act = await deed.make(inquiry.world)
    await _answered(inquiry, name, "refused", deed, act.refused, REFUSAL)
    for other in deed.others:
        await _answered(inquiry, name, f"by {other}", replace(deed, caller=other), act.request, REFUSAL)


async def _undo(inquiry: Inquiry, name: str, deed: Deed) -> None:
    """At the caller's wish."""
    request = (await deed.make(inquiry.world)).request
    wish = ", ".join(filter(None, (request.headers.get("prefer"), "tx=rollback")))
    undone = replace(request, headers={**request.headers, "prefer": wish})
    await _answered(inquiry, name, "undone", deed, undone, SUCCESS, keeps=False)


async def _put_in_batches(inquiry: Inquiry, name: str, deed: Deed) -> None:
    """Alone, and before a request that is refused. Passwords are refused there, and other batches."""
    act = await deed.make(inquiry.world)
    if "/batch" in name or "password" in str(act.request.body):
        return
    await _answered(inquiry, name, "in a batch", deed, _batch(act.request), SUCCESS)
    act = await deed.make(inquiry.world)
    prefix = REST if act.request.target.startswith(REST) else ""
    refused = Request("POST", f"{prefix}/tags", {"name": ""})
    await _answered(inquiry, name, "in a refused batch", deed, _batch(act.request, refused), REFUSAL)


async def _cancel(inquiry: Inquiry, name: str, deed: Deed, point: Point) -> None:
    """When it comes to this point, if it does."""
    act = await deed.make(inquiry.world)
    reached = False

    async def cancel() -> None:
        nonlocal reached
        if (task := asyncio.current_task()) is not None and not reached:
            reached = True
            task.cancel()
            await asyncio.sleep(0)

    async def ask(request_id: str) -> bool:
        with failpoints.armed({point: cancel}):
            task = asyncio.create_task(inquiry.world.ask(act.request, deed.caller, request_id))
            await asyncio.wait([task])
        inquiry.ended += task.cancelled()
        if reached and not task.cancelled():
            inquiry.figures.expect(False, f"{name} cancelled {point}: ended with {task}")
        return not reached or point in KEPT

    await _observe(inquiry, name, f"cancelled {point}", deed, ask)


async def _interrupt(inquiry: Inquiry, name: str, deed: Deed, number: int) -> None:
    """When this statement goes to the database. It is all or nothing then, whichever."""
    act = await deed.make(inquiry.world)
    world, loop, count = inquiry.world, asyncio.get_running_loop(), 0

    async def ask(request_id: str) -> None:
        task = asyncio.create_task(world.ask(act.request, deed.caller, request_id))

        def count_statement() -> None:
            nonlocal count
            count += 1
            if count == number:
                loop.call_soon_threadsafe(task.cancel)  # SQLite has a thread

        world.watch = count_statement
        await asyncio.wait([task])
        world.watch = None
        inquiry.ended += task.cancelled()

    await _observe(inquiry, name, f"cancelled with statement {number}", deed, ask, "cancelled with some statement")


async def _answered(
    inquiry: Inquiry, name: str, how: str, deed: Deed, request: Request, statuses: range, *, keeps: bool = True
) -> None:
    async def ask(request_id: str) -> bool:
        answer = await inquiry.world.ask(request, deed.caller, request_id)
        inquiry.figures.expect(answer.status in statuses, f"{name} {how}: answered {answer}")
        return keeps and answer.status < 400

    await _observe(inquiry, name, how, deed, ask)


async def _observe(
    inquiry: Inquiry, name: str, how: str, deed: Deed, ask: Callable[[str], Awaitable[bool | None]], kind: str = ""
) -> None:
    """`ask` says whether what it asked for is to be kept; None where nobody knows."""
    inquiry.counts[kind or how] += 1
    request_id = f"request-{inquiry.counts.total()}"
    before = await inquiry.kept.read()
    keeps = await ask(request_id)
    after = await inquiry.kept.read()
    if keeps is None:
        keeps = after != before
    if not await inquiry.kept.is_free():
        raise Stuck(f"{name} {how}: a transaction was left open")
    if keeps:
        stamp = _stamp(inquiry.world, deed, request_id, before, after)
        found = [*untold(before, after, stamp, forgotten=deed.forgotten)]
        if deed.kept and len(after["revisions"]) + len(after["transfers"]) == _told(before):
            found.append("nothing was told")
    else:
        found = list(left_behind(before, after))
    some(inquiry.figures, [f"{name} {how}: {text}" for text in [*found, *leaked(before, after, inquiry.world.secrets)]])


def _told(tables: Tables) -> int:
    return len(tables["revisions"]) + len(tables["transfers"])


def _stamp(world: World, deed: Deed, request_id: str, before: Tables, after: Tables) -> Stamp:
    """Whom revisions must name: the caller, or the user of the link that was followed."""
    if deed.by_link:
        owner = next((change.key for change in moved(before, after)), None)
        return Stamp(owner, None, request_id)
    return Stamp(world.people.get(deed.caller), world.key_id if deed.caller == "secret" else None, request_id)


def _batch(*requests: Request) -> Request:
    """On the surface of the first."""
    prefix = REST if requests[0].target.startswith(REST) else ""
    return Request("POST", f"{prefix}/batch", [_part(request, prefix) for request in requests])


def _part(request: Request, prefix: str) -> dict[str, Any]:
    part = {"method": request.method, "path": request.target.removeprefix(prefix), "headers": dict(request.headers)}
    return part if request.body is None else part | {"body": request.body}


# ---- guards ---------------------------------------------------------------------------------------------------------


@contextmanager
def without_revisions() -> Generator[None]:
    """Rows change, and nobody writes down how."""

    def nothing(*change: object) -> Generator[Any]:
        yield from ()

    with replaced(writer, "write_revisions", nothing), replaced(removal, "write_revisions", nothing):
        yield


def without_undoing() -> AbstractContextManager[None]:
    """What the caller wants undone is kept."""
    transact = Call.transact

    async def keeping(call: Call, work: Any, *, keep: bool = True, keyed: bool = False) -> Any:
        return await transact(call, work, keyed=keyed)

    return replaced(Call, "transact", keeping)


AUDIT = Trial("T27", "audit trail", work, {"revisions": without_revisions, "the caller's rollback": without_undoing})
