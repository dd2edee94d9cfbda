"""Whether instants come back as they were given, in whatever zone the process or the database stands: through HTTP,
through Python, in filters, orders, cursors, and in the database itself.

    python -m tests.reliability.instants FOLDER URL SEED

does it in a process of its own, whose zone is that of the variable TZ, and prints what it found as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import sys
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx2
from sqlalchemy import text

from app.accounts.keys import load_keys
from app.data.database import Database
from app.data.rules import SYSTEM
from app.http.app import create_app
from app.models import Post
from app.resources import CATALOG
from app.settings import AccountSettings, RateLimits, Settings
from tests.conftest import EPOCH, Clock
from tests.factories import make_user
from tests.http.conftest import client_of
from tests.reliability.trial import Figures

ZONES = ("UTC", "Pacific/Kiritimati", "Etc/GMT+12", "Europe/Berlin")  # +14, -12, and one with summer time
BERLIN = ZoneInfo("Europe/Berlin")
ODD = (  # texts of instants that somebody's clock shows twice, not at all, or hardly
    "2026-03-29T02:30:00+01:00",  # in Berlin's gap
    "2026-03-29T00:59:59.999999Z",
    "2026-03-29T01:00:00Z",
    "2026-10-25T02:30:00+02:00",  # twice in Berlin: now and an hour later
    "2026-10-25T02:30:00+01:00",
    "2026-12-31T23:59:59.999999-12:00",
    "2027-01-01T00:00:00+14:00",
    "1970-01-01T00:00:00Z",
    "1969-12-31T23:59:59.999999Z",
    "2038-01-19T03:14:08Z",
    "0001-01-02T00:00:00Z",
    "9999-12-30T23:59:59.999999Z",
    "2024-02-29T23:30:00-01:00",
)
UNLIKELY = ("2016-12-31T23:59:60Z", "2026-12-31T23:59:60.5+00:00", "2026-01-01T24:00:01Z")  # a leap second, and beyond
WHOLE = datetime(1900, 1, 1, tzinfo=UTC)  # before, the offset of Berlin had seconds
PAGE = 7
ROOT = Path(__file__).resolve().parents[2]
STORED = {
    "sqlite": "SELECT id, published_at FROM posts WHERE user_id = :author",
    "postgresql": """SELECT id, to_char(published_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') FROM posts
        WHERE user_id = :author""",
}


@dataclass(frozen=True, slots=True)
class Service:
    settings: Settings
    database: Database
    clock: Clock
    client: httpx2.AsyncClient
    secret: dict[str, str]


@asynccontextmanager
async def opened(folder: Path, url: str) -> AsyncGenerator[Service]:
    """The service in process, with a clock that stands at noon of 1 January 2026 and requests without a limit."""
    settings = Settings(data_dir=folder, accounts=AccountSettings(rates=RateLimits(anonymous=0, signed_in=0)))
    clock = Clock(EPOCH)
    secret = {"apikey": load_keys(folder).secret}
    async with (
        Database(url, CATALOG, clock=clock) as database,
        client_of(create_app(settings, database=database)) as client,
    ):
        yield Service(settings, database, clock, client, secret)


@contextmanager
def process_zone(name: str) -> Generator[None]:
    before = os.environ.get("TZ")
    _set_zone(name)
    try:
        yield
    finally:
        _set_zone(before)


def _set_zone(name: str | None) -> None:
    os.environ.pop("TZ", None)
    if name is not None:
        os.environ["TZ"] = name
    time.tzset()


# ---- the round trip -------------------------------------------------------------------------------------------------


async def check_instants(service: Service, chance: random.Random, number: int, figures: Figures) -> int:
    """How many instants went through."""
    texts = [*ODD, *(random_text(chance) for _ in range(number))]
    async with service.database.writing(SYSTEM) as session:
        author = (await make_user(session, username=f"u{secrets.token_hex(8)}", email=None)).id
        for zone in (BERLIN, timezone(timedelta(hours=-12)), UTC):
            moment = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=zone)
            session.add(Post(user_id=author, title="By Python", published_at=moment))
            texts.append(moment.isoformat())
    trip = RoundTrip(service, author, f"{os.environ.get('TZ')}: ", figures)
    await trip.write(texts[:-3])
    await trip.check(texts)
    return len(texts)


def random_text(chance: random.Random) -> str:
    offset = timezone(timedelta(minutes=chance.randint(-15 * 60, 15 * 60)))
    seconds = timedelta(days=chance.randint(0, 73_000), microseconds=chance.randint(0, 86_400_000_000))
    return (datetime(1900, 1, 2, tzinfo=UTC) + seconds).astimezone(offset).isoformat()


def written(moment: datetime) -> str:
    """As PostgreSQL writes it in JSON."""
    bare, offset = moment.replace(tzinfo=None).isoformat(), moment.isoformat()[-6:]
    return (bare.rstrip("0") if moment.microsecond else bare) + offset


def moment_of(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@dataclass(slots=True)
class RoundTrip:
    service: Service
    author: int
    place: str
    figures: Figures

    async def write(self, texts: Sequence[str]) -> None:
        rows = [
            {"user_id": self.author, "title": f"{number}", "published_at": given} for number, given in enumerate(texts)
        ]
        headers = {**self.service.secret, "Prefer": "return=representation"}
        response = await self.service.client.post("/rest/v1/posts?select=published_at", json=rows, headers=headers)
        answered = response.json() if response.status_code == 201 else []
        self._expect(len(answered) == len(texts), f"a POST was answered {response.status_code}")
        for given, row in zip(texts, answered, strict=False):
            shown = row["published_at"]
            self._expect(moment_of(shown) == moment_of(given), f"{given} was answered as {shown}")

    async def check(self, texts: Sequence[str]) -> None:
        expected = sorted(map(moment_of, texts))
        rows = await self._ask("select=id,published_at&order=published_at,id&limit=1000")
        self._expect([moment_of(row["published_at"]) for row in rows] == expected, "another order, or other instants")
        query = f"select=published_at&order=published_at,id&limit=1000&published_at=gte.{WHOLE:%Y-%m-%d}"
        turned = [row["published_at"] for row in await self._ask(query, Prefer="timezone=Europe/Berlin")]
        shown = [written(moment.astimezone(BERLIN)) for moment in expected if moment >= WHOLE]
        self._expect(turned == shown, "other instants in Berlin's time")
        self._expect(await self._paged() == [row["id"] for row in rows], "pages do not make the whole")
        await self._check_stored(rows)
        for given in texts:
            await self._check_filters(given, expected)

    async def _check_filters(self, given: str, expected: list[datetime]) -> None:
        moment = moment_of(given)
        bare = moment.isoformat().removesuffix("+00:00")  # a literal without a zone is UTC
        for operator, text_, count in (
            ("eq", given, expected.count(moment)),
            ("eq", bare, expected.count(moment)),
            ("lt", given, sum(other < moment for other in expected)),
        ):
            found = await self._ask(f"select=id&limit=1000&published_at={operator}.{text_.replace('+', '%2B')}")
            self._expect(len(found) == count, f"{operator}.{text_} finds {len(found)} rows, not {count}")

    async def _paged(self) -> list[int]:
        found: list[int] = []
        path: str | None = f"/posts?user_id=eq.{self.author}&select=id&order=published_at,id&limit={PAGE}"
        while path is not None:
            response = await self.service.client.get(path, headers=self.service.secret)
            if response.status_code != 200:
                break
            found += [row["id"] for row in response.json()]
            path = response.links.get("next", {}).get("url")
        return found

    async def _check_stored(self, rows: Sequence[dict[str, Any]]) -> None:
        async with self.service.database.writer.connect() as connection:
            stored = await connection.execute(text(STORED[self.service.database.name]), {"author": self.author})
            kept = dict(tuple(row) for row in stored)
        shown = {row["id"]: moment_of(row["published_at"]).strftime("%Y-%m-%d %H:%M:%S.%f") for row in rows}
        self._expect({i: t.zfill(26) for i, t in shown.items()} == kept, "the database has kept other instants")

    async def _ask(self, query: str, **headers: str) -> list[dict[str, Any]]:
        path = f"/rest/v1/posts?user_id=eq.{self.author}&{query}"
        response = await self.service.client.get(path, headers=self.service.secret | headers)
        self._expect(response.status_code == 200, f"GET {query} was answered {response.status_code}")
        found: list[dict[str, Any]] = response.json() if response.status_code == 200 else []
        return found

    def _expect(self, holds: bool, otherwise: str) -> None:
        self.figures.expect(holds, self.place + otherwise)


async def check_unlikely(service: Service, figures: Figures) -> None:
    """A leap second, and what is no time at all: refused, in words."""
    for given in UNLIKELY:
        row = {"title": given, "user_id": 1, "published_at": given}
        response = await service.client.post("/posts", json=row, headers=service.secret)
        said = (response.status_code, response.json()["code"])
        figures.expect(said in ((422, "22008"), (422, "22007")), f"{given} was answered {said}")


# ---- in a process of its own ----------------------------------------------------------------------------------------


async def found_elsewhere(folder: Path, url: str, seed: int, zone: str) -> list[str]:
    """What a process in another zone finds."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.reliability.instants", str(folder), url, str(seed)),
        cwd=ROOT,
        env={**os.environ, "TZ": zone},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, f"a process in {zone} ended with {process.returncode}"
    found: list[str] = json.loads(output)
    return found


async def main(folder: str, url: str, seed: str) -> None:
    figures = Figures()
    async with opened(Path(folder), url) as service:
        await check_instants(service, random.Random(seed), 0, figures)
    print(json.dumps(figures.violations))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
