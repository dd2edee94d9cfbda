"""T7 idempotency: the same transfer sent many times at once, through two processes' worth of service, with faults at
every failpoint, by several callers, and after its key has expired. One effect for each key, and one answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from app.data import failpoints, idempotency
from app.data.database import Database
from app.data.failpoints import Fault, Point
from app.data.idempotency import Key
from app.data.rules import SYSTEM, Principal, user
from app.errors import Unavailable
from app.http import idempotency as wrapper
from app.http.app import create_app
from app.resources import CATALOG
from app.settings import Settings
from tests.conftest import Clock
from tests.reliability.books import Accounts, open_accounts, read_books
from tests.reliability.guards import replaced, without_replay
from tests.reliability.inside import Answer, Service, by_name, serving
from tests.reliability.trial import Conditions, Figures, Trial

COPIES = 30
KEYS, MANY_KEYS, FEW_KEYS = 20, 400, 3  # in the short form, in the long one, without a guard
PATIENCE = 200  # how often a client asks again
LATER = ("BRD409", "PGRST001", "PGRST003", "55P03", "08007", "40001", "40P01")


@dataclass
class Bank:
    """Two services on one database, and how often each of their answers came."""

    services: list[Service]
    clock: Clock
    accounts: Accounts
    random: random.Random
    came: Counter[str] = field(default_factory=Counter)

    def request(self, note: str) -> dict[str, Any]:
        return {"to_user_id": self.accounts.rich[0], "amount": 1, "note": note}

    async def send(self, who: Principal, key: str, body: dict[str, Any]) -> Answer:
        """As a client with patience does it: again under the same key, until there is an answer."""
        for _ in range(PATIENCE):
            service = self.random.choice(self.services)
            answer = None
            with contextlib.suppress(asyncio.CancelledError):
                answer = await service.ask("POST", "/rpc/transfer", body, who=who, headers={"idempotency-key": key})
            if answer is not None:
                self.came[str(answer.status)] += 1
                if answer.status < 500 and answer.json.get("code") not in LATER:
                    return answer
            await asyncio.sleep(self.random.uniform(0, 0.02))
        raise TimeoutError(f"{key} has no answer")


async def work(conditions: Conditions) -> Figures:
    figures = Figures()
    number = FEW_KEYS if conditions.without else MANY_KEYS if conditions.long else KEYS
    async with bank_of(conditions) as bank:
        senders = [user(id_) for id_ in bank.accounts.rich[1:5]]
        expected: Counter[str] = Counter()
        for step in (_copies, _others, _strangers, _faults, _expired):
            expected += await step(bank, senders, number, figures)
    books = await read_books(conditions.url)
    effects = {note: len(rows) for note, rows in books.transfers.items() if note is not None}
    doubled = {note: n for note, n in effects.items() if n > expected[note]}
    lost = {note: n for note, n in expected.items() if effects.get(note, 0) < n}
    figures.expect(not doubled, f"more effects than keys: {sorted(doubled.items())[:5]}")
    figures.expect(not lost, f"fewer effects than keys: {sorted(lost.items())[:5]}")
    figures.expect(not books.unfinished, f"{books.unfinished} keys are in progress for ever")
    answers = sum(bank.came.values())
    figures.counts |= {"keys": expected.total(), "effects": sum(effects.values()), "answers": answers}
    figures.counts |= {f"of status {status}": n for status, n in sorted(bank.came.items())}
    return figures


@contextlib.asynccontextmanager
async def bank_of(conditions: Conditions) -> AsyncGenerator[Bank]:
    clock = Clock()
    settings = Settings(data_dir=conditions.folder)
    async with contextlib.AsyncExitStack() as stack:
        services = []
        for _ in range(2):
            database = await stack.enter_async_context(Database(conditions.url, CATALOG, clock=clock))
            app = create_app(settings, authenticate=by_name, database=database)
            services.append(await stack.enter_async_context(serving(app)))
        yield Bank(services, clock, await open_accounts(database), random.Random(conditions.seed))
        await database.transact(SYSTEM, idempotency.purge_expired)


# ---- what is sent; each says how often its notes must stand in the end ----------------------------------------------


async def _copies(bank: Bank, senders: list[Principal], number: int, figures: Figures) -> Counter[str]:
    for n in range(number):
        who, note = senders[n % len(senders)], f"copies {n}"
        answers = await asyncio.gather(*(bank.send(who, note[7:], bank.request(note)) for _ in range(COPIES)))
        kinds = {(answer.status, answer.body) for answer in answers}
        figures.expect(len(kinds) == 1, f"{note}: {len(kinds)} different answers")
        figures.expect(answers[0].status == 200, f"{note}: {answers[0]}")
    return Counter({f"copies {n}": 1 for n in range(number)})


async def _others(bank: Bank, senders: list[Principal], number: int, figures: Figures) -> Counter[str]:
    """Another request under a key that was used."""
    for n in range(number):
        answer = await bank.send(senders[n % len(senders)], f"{n}", bank.request("another one"))
        figures.expect(answer.status == 422, f"another request under the key {n}: {answer}")
    return Counter()


async def _strangers(bank: Bank, senders: list[Principal], number: int, figures: Figures) -> Counter[str]:
    """The same key and body of another caller."""
    for n in range(number):
        answer = await bank.send(senders[(n + 1) % len(senders)], f"{n}", bank.request(f"copies {n}"))
        replayed = "idempotent-replayed" in answer.headers
        figures.expect(answer.status == 200 and not replayed, f"the key {n} of somebody else: {answer}")
    return Counter({f"copies {n}": 1 for n in range(number)})


async def _faults(bank: Bank, senders: list[Principal], number: int, figures: Figures) -> Counter[str]:
    """Something goes wrong once at each point; the client sends again."""
    notes = []
    for point in Point:
        for name, error in (("lost", Unavailable("lost", code="PGRST001")), ("cancelled", asyncio.CancelledError())):
            note = f"{name} {point.value}"
            with failpoints.armed({point: _once(error)}):
                answer = await bank.send(senders[0], note.replace(" ", "-"), bank.request(note))
            figures.expect(answer.status == 200, f"{note}: {answer}")
            notes.append(note)
    figures.counts["faults"] = len(notes)
    return Counter(notes)


async def _expired(bank: Bank, senders: list[Principal], number: int, figures: Figures) -> Counter[str]:
    """After a day a key is a new one."""
    bank.clock.advance(timedelta(hours=24).total_seconds())
    await _copies(bank, senders, min(number, FEW_KEYS), figures)
    return Counter({f"copies {n}": 1 for n in range(min(number, FEW_KEYS))})


def _once(error: BaseException) -> Fault:
    raised = False

    async def fault() -> None:
        nonlocal raised
        if not raised:
            raised = True
            raise error

    return fault


# ---- guards ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def no_fingerprint() -> Generator[None]:
    digested = wrapper._digested

    with replaced(wrapper, "_digested", lambda call, given: Key(digested(call, given).id, "f" * 64)):
        yield


@contextlib.contextmanager
def no_owner() -> Generator[None]:
    digested = wrapper._digested

    with replaced(wrapper, "_digested", lambda call, given: Key(f"{given:0>64}", digested(call, given).fingerprint)):
        yield


KEYS_HOLD = Trial(
    "T7",
    "idempotency",
    work,
    {
        "the claim of the key": without_replay,
        "the fingerprint of the request": no_fingerprint,
        "the caller in the key": no_owner,
    },
)
