"""Clients of the bank: each moves random credits, reads all balances now and then, and remembers what it was told.

They ask at a desk: the actions of a Database in this process, or the service over HTTP. A client that is `persistent`
sends an order again for as long as that is safe: when the answer says that nothing was kept, and at a desk with keys
always, until it knows what became of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from sqlalchemy import select

from app.actions import transfer
from app.data import faults
from app.data.database import Database
from app.data.rules import SYSTEM
from app.data.session import AppSession
from app.errors import BroadsheetError
from app.models import User
from tests.http.serving import Answer
from tests.reliability.books import Accounts
from tests.reliability.history import History, Order, Seen, Sent, Verdict

CLIENTS = 16
PATIENCE = 20  # seconds that a client waits for an answer
PAUSE = 0.05  # seconds before an order is sent again, about
LAST_TRIES = 60  # how often an order is sent again when the trial is over
READS = 0.2  # of all that is asked
POOR = 0.3  # of the orders
NOBODY, CUT = "refused connections", "cut connections"  # as codes
RESEND = frozenset({"BRD409"})  # refusals that only say: not yet


@dataclass(frozen=True, slots=True)
class Reply:
    """What a desk says. `code` is the error's, or how the connection ended; `fault` is what is wrong with the answer
    itself. An order that was kept has a `row`, a read that succeeded `balances`.
    """

    verdict: Verdict
    code: str = ""
    row: int | None = None
    balances: Mapping[int, int] | None = None
    replayed: bool = False
    fault: str = ""


class Desk(Protocol):
    @property
    def keyed(self) -> bool:
        """Whether an order may be sent again, whatever became of it."""
        ...

    async def transfer(self, order: Order) -> Reply: ...

    async def read(self) -> Reply: ...

    def close(self) -> None: ...


# ---- desks ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PythonDesk:
    """The actions, in this process."""

    database: Database
    keyed: bool = False

    async def transfer(self, order: Order) -> Reply:
        async def work(session: AppSession) -> int:
            return await transfer(
                session,
                from_user_id=order.sender,
                to_user_id=order.receiver,
                amount=order.amount,
                note=order.note,
            )

        try:
            return Reply(Verdict.KEPT, row=await self.database.transact(SYSTEM, work))
        except BroadsheetError as exc:
            return Reply(verdict_of(exc.status, exc.code), exc.code)

    async def read(self) -> Reply:
        try:
            async with self.database.reading(SYSTEM) as session:
                found = (await session.execute(select(User.id, User.balance))).all()
        except BroadsheetError as exc:
            return Reply(verdict_of(exc.status, exc.code), exc.code)
        return Reply(Verdict.KEPT, balances={row.id: row.balance for row in found})

    def close(self) -> None:
        """The database is its owner's."""


def verdict_of(status: int, code: str) -> Verdict:
    if status < 500 and code not in RESEND:
        return Verdict.REFUSED
    return Verdict.UNKNOWN if code == faults.UNKNOWN or code in RESEND else Verdict.FAILED


class HttpDesk:
    """The service over one kept connection, as the holder of the secret key."""

    def __init__(self, port: int, secret: str, *, keyed: bool = False) -> None:
        self.port = port
        self.secret = secret
        self.keyed = keyed
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def transfer(self, order: Order) -> Reply:
        asked = {"from_user_id": order.sender, "to_user_id": order.receiver, "amount": order.amount, "note": order.note}
        key = {"Idempotency-Key": order.note} if self.keyed else {}
        try:
            answer = await self.ask("POST", "/rest/v1/rpc/transfer", asked, key)
        except (OSError, EOFError) as exc:
            return unanswered(exc)
        if answer.status != 200:
            return refused(answer)
        return Reply(Verdict.KEPT, row=answer.json()["id"], replayed=is_replayed(answer))

    async def read(self) -> Reply:
        try:
            answer = await self.ask("GET", "/rest/v1/users?select=id,balance")
        except (OSError, EOFError) as exc:
            return unanswered(exc)
        if answer.status != 200:
            return refused(answer)
        return Reply(Verdict.KEPT, balances={row["id"]: row["balance"] for row in answer.json()})

    async def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Raises OSError and EOFError, after which the next request has a new connection."""
        content = b"" if body is None else json.dumps(body).encode()
        given = {"Host": "bank", "apikey": self.secret, "Content-Length": str(len(content)), **(headers or {})}
        if content:
            given["Content-Type"] = "application/json"
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await self._connected()
                writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + content)
                return await _answer(reader)
        except BaseException:
            self.close()
            raise

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.streams is None:
            self.streams = await asyncio.open_connection("127.0.0.1", self.port)
        return self.streams

    def close(self) -> None:
        if self.streams is not None:
            self.streams[1].transport.abort()
            self.streams = None


async def _answer(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    body = await reader.readexactly(int(headers["content-length"]))
    return Answer(int(head[0].split()[1]), headers, body)


def unanswered(exc: Exception) -> Reply:
    """Where nobody listened, nothing was done."""
    if isinstance(exc, ConnectionRefusedError):
        return Reply(Verdict.FAILED, NOBODY)
    return Reply(Verdict.UNKNOWN, type(exc).__name__ if isinstance(exc, TimeoutError) else CUT)


def refused(answer: Answer) -> Reply:
    code = answer.json()["code"]
    return Reply(verdict_of(answer.status, code), code, replayed=is_replayed(answer), fault=fault_of(answer))


def is_replayed(answer: Answer) -> bool:
    return answer.headers.get("idempotent-replayed") == "true"


def fault_of(answer: Answer) -> str:
    """A service that cannot says so with 503 or 504, and when to ask again."""
    if answer.status < 500:
        return ""
    if answer.status not in (503, 504):
        return f"status {answer.status}: {answer.body.decode()}"
    return "" if "retry-after" in answer.headers else f"no Retry-After with {answer.body.decode()}"


# ---- clients --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mishap:
    """One request that the service could not answer as it should."""

    started: float
    ended: float
    code: str
    fault: str


@dataclass(slots=True)
class Client:
    number: int
    name: str
    random: Random
    desk: Desk
    accounts: Accounts
    history: History
    stop: asyncio.Event
    persistent: bool
    orders: int = 0
    mishaps: list[Mishap] = field(default_factory=list)

    async def run(self) -> None:
        """Until `stop` is set; what is under way then is brought to its end."""
        try:
            while not self.stop.is_set():
                if self.random.random() < READS:
                    await self.read()
                else:
                    await self.order()
        finally:
            self.desk.close()

    async def read(self) -> None:
        reply, started, ended = await self._asked(self.desk.read())
        if reply.balances is None:
            await self._pause()
        else:
            self.history.seen.append(Seen(self.number, started, ended, reply.balances))

    async def order(self) -> None:
        order, answers = self._next(), []
        reply, started, ended = await self._asked(self.desk.transfer(order))
        left, doubtful = LAST_TRIES, False
        while self._may_repeat(reply) and left:
            left -= self.stop.is_set()
            doubtful = doubtful or reply.verdict is Verdict.UNKNOWN
            answers.append(reply.code)
            await self._pause()
            reply, _, ended = await self._asked(self.desk.transfer(order))
        self.history.sent.append(
            Sent(
                self.number,
                order,
                started,
                ended,
                Verdict.UNKNOWN if doubtful and reply.verdict is Verdict.FAILED else reply.verdict,
                reply.code,
                reply.row,
                reply.replayed,
                tuple(answers),
            )
        )

    def _next(self) -> Order:
        self.orders += 1
        poor = self.random.random() < POOR
        sender, receiver = self.random.sample(self.accounts.poor if poor else self.accounts.rich, 2)
        amount = self.random.randint(1, 5) if poor else self.random.randint(1, 50)
        return Order(sender, receiver, amount, f"{self.name}{self.number}-{self.orders}")

    def _may_repeat(self, reply: Reply) -> bool:
        if not self.persistent:
            return False
        return reply.verdict is Verdict.FAILED or (reply.verdict is Verdict.UNKNOWN and self.desk.keyed)

    async def _asked(self, asking: Awaitable[Reply]) -> tuple[Reply, float, float]:
        """The reply, and when it was asked for and came."""
        started = time.monotonic()
        reply = await asking
        ended = time.monotonic()
        if reply.fault or reply.verdict in (Verdict.FAILED, Verdict.UNKNOWN):
            self.mishaps.append(Mishap(started, ended, reply.code, reply.fault))
        return reply, started, ended

    async def _pause(self) -> None:
        await asyncio.sleep(self.random.uniform(0.5, 1.5) * PAUSE)


@dataclass(slots=True)
class Crowd:
    """Clients at work."""

    clients: list[Client]

    @property
    def mishaps(self) -> list[Mishap]:
        return [mishap for client in self.clients for mishap in client.mishaps]

    @property
    def faults(self) -> list[str]:
        return [mishap.fault for mishap in self.mishaps if mishap.fault]


@contextlib.asynccontextmanager
async def crowd(
    desk: Callable[[int], Desk],
    accounts: Accounts,
    history: History,
    seed: int,
    *,
    name: str = "",
    persistent: bool = False,
) -> AsyncGenerator[Crowd]:
    """Clients work while the block runs, each at the desk of its number, and then finish what they began. The `name`
    tells their orders from those of another crowd.
    """
    stop = asyncio.Event()
    clients = [
        Client(n, name, Random(f"{seed} {name}{n}"), desk(n), accounts, history, stop, persistent)
        for n in range(CLIENTS)
    ]
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client.run())
        try:
            yield Crowd(clients)
        finally:
            stop.set()
