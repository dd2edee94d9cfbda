"""T1, the bank: many move credits between few accounts at once, through three Databases, while others read all
balances. No credit is made or lost, and every read says so.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import replace

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from app.accounts.keys import load_keys
from app.actions import balance_of, statement
from app.data.database import Database
from app.data.rules import SYSTEM
from app.data.session import AppSession
from app.http.app import create_app
from app.resources import CATALOG
from app.settings import Settings
from tests.http.serving import serving
from tests.reliability.books import Accounts, Books, check_books, check_orders, open_accounts, read_books
from tests.reliability.clients import Desk, HttpDesk, PythonDesk, crowd
from tests.reliability.guards import without_transactions
from tests.reliability.history import History, Verdict, check_order_of_time, check_sums, some
from tests.reliability.trial import Conditions, Figures, Trial

SECONDS = {"short": 4.0, "long": 60.0, "broken": 1.0}
TOO_BUSY = "PGRST003"  # nobody was in the way: a slow machine may say so
PAGE = 1000  # entries of a statement that are read at once


async def work(conditions: Conditions) -> Figures:
    figures = Figures()
    seconds = SECONDS["broken" if conditions.without else "long" if conditions.long else "short"]
    async with opened(conditions) as (databases, port, secret):
        accounts = await open_accounts(databases[0])
        if conditions.without:
            accounts = replace(accounts, rich=accounts.rich[: len(accounts.poor)])  # more are in each other's way

        def desk(number: int) -> Desk:
            return HttpDesk(port, secret) if number % 3 == 2 else PythonDesk(databases[number % 3])

        history = History()
        async with crowd(desk, accounts, history, conditions.seed) as clients:
            await asyncio.sleep(seconds)  # how long the trial lasts
        books = await read_books(conditions.url)
        await check_statements(databases[0], books, figures)
        retries = sum((database.counters.repeated for database in databases), Counter[str]())
    some(figures, clients.faults)
    failed = Counter(mishap.code for mishap in clients.mishaps if mishap.code != TOO_BUSY)
    some(figures, [f"{number} requests failed with {code}" for code, number in failed.items()])
    check(history, books, accounts, figures)
    count(history, seconds, retries, figures)
    return figures


@contextlib.asynccontextmanager
async def opened(conditions: Conditions) -> AsyncGenerator[tuple[list[Database], int, str]]:
    """Three Databases that know nothing of each other, as three processes would have them, and the port and the key
    where the last is served over HTTP.
    """
    settings = Settings(data_dir=conditions.folder)
    secret = load_keys(conditions.folder).secret
    async with contextlib.AsyncExitStack() as stack:
        databases = [await stack.enter_async_context(Database(conditions.url, CATALOG)) for _ in range(3)]
        app = create_app(settings, database=databases[-1])
        running = await stack.enter_async_context(serving(await started(stack, app)))
        yield databases, running.port, secret


async def started(stack: contextlib.AsyncExitStack, app: Starlette) -> ASGIApp:
    """The application with its lifespan begun, which the server of the tests leaves out."""
    state = await stack.enter_async_context(app.router.lifespan_context(app))

    async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": dict(state or {})}, receive, send)

    return asgi


def check(history: History, books: Books, accounts: Accounts, figures: Figures) -> None:
    check_sums(history, accounts.opening, figures)
    check_order_of_time(history, accounts.opening, figures)
    check_books(books, accounts.opening, figures)
    check_orders(history, books, figures)


async def check_statements(database: Database, books: Books, figures: Figures) -> None:
    """What an account's statement says is what stands in the books, entry by entry, and so is its balance."""
    async with database.reading(SYSTEM) as session:
        for user, balance in books.balances.items():
            said = await balance_of(session, user)
            figures.expect(said == balance, f"balance_of says {said} of user {user}, who has {balance}")
            await _check_statement(session, user, books, figures)


async def _check_statement(session: AppSession, user: int, books: Books, figures: Figures) -> None:
    changes = {}
    for row in (row for rows in books.transfers.values() for row in rows):
        if user in (row.sender, row.receiver):
            changes[row.id] = row.amount if row.receiver == user else -row.amount
    before, found = None, {}
    balance = books.balances[user]
    while True:
        page = await statement(session, user, before, PAGE)
        for entry in page.entries:
            found[entry.id] = entry.amount
            figures.expect(entry.balance == balance, f"user {user} had {balance} after {entry.id}, not {entry.balance}")
            balance -= entry.amount
        before = page.next
        if before is None:
            break
    figures.expect(found == changes, f"the statement of user {user} has other entries than the transfers")


def count(history: History, seconds: float, retries: Counter[str], figures: Figures) -> None:
    times = history.times()
    kept, refused = len(history.of(Verdict.KEPT)), len(history.of(Verdict.REFUSED))
    figures.counts |= {
        "orders": len(history.sent),
        "acknowledged": kept,
        "refused": refused,
        "failed": len(history.sent) - kept - refused,
        "reads": len(history.seen),
        "transfers/s": kept / seconds,
        "p50 ms": times[len(times) // 2] if times else 0,
        "p99 ms": times[len(times) * 99 // 100] if times else 0,
        "worst ms": times[-1] if times else 0,
    }
    figures.counts |= {f"retries {code}": number for code, number in sorted(retries.items())}


BANK = Trial(
    "T1",
    "bank",
    work,
    {"row locks and compared balances": without_transactions},
)
