"""No secret turns up where nobody asked for it: one run of everything that people do, on a real server whose log says
all that it can, and a search through what it told, wrote and stored.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import make_url, select, text

from app.data import engines
from app.models import Credentials, SigningKey
from tests.conftest import Server, fresh_database, in_thread
from tests.security import acts
from tests.security.canaries import Channel, scan
from tests.security.state import tables
from tests.security.story import MAIL, OF_ADA, Story, begun, canary

pytestmark = pytest.mark.slow  # seven programs are started for each database

MISSING = ("sessions", "revisions", "one_time_tokens", "credentials", "tags")
KEPT = {*OF_ADA, "metadata by admins"}  # what the database is there for
STATUSES = {200, 201, 303, 400, 401, 403, 404, 405, 406, 409, 412, 415, 422, 500}


@dataclass(frozen=True)
class Ended:
    """All that can be read after a story."""

    channels: list[Channel]
    secrets: dict[str, str]
    statuses: set[int]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def ended(request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Generator[Ended]:
    folder = tmp_path_factory.mktemp("leaks")
    with contextmanager(fresh_database)(request.param, server, folder) as url:
        url, password = with_password(url)
        with begun(folder, url, password) as story:
            play(story, url)
        yield Ended([*story.told, *left_behind(story, url)], story.secrets, story.statuses)


def with_password(url: str) -> tuple[str, str]:
    """The URL of a PostgreSQL with a password, which a server that trusts everybody does not look at."""
    known = make_url(url)
    if known.get_backend_name() == "sqlite":
        return url, ""
    password = str(known.password or canary("database"))
    return known.set(password=password).render_as_string(hide_password=False), password


def play(story: Story, url: str) -> None:
    acts.people_come(story)
    acts.ada_changes_herself(story)
    ids = acts.ada_writes(story)
    acts.keys_are_made(story)
    acts.links_are_sent(story)
    acts.strangers_look(story, ids)
    acts.mistakes_are_made(story, ids)
    change(url, *(f"ALTER TABLE {name} RENAME TO {name}_gone" for name in MISSING))
    acts.tables_are_missing(story)
    change(url, *(f"ALTER TABLE {name}_gone RENAME TO {name}" for name in MISSING))
    acts.strangers_look(story, ids)


def change(url: str, *statements: str) -> None:
    async def work() -> None:
        engine = engines.migration_engine(url)
        async with engine.begin() as connection:
            for statement in statements:
                await connection.execute(text(statement))
        await engine.dispose()

    in_thread(work())


def left_behind(story: Story, url: str) -> list[Channel]:
    """The log, the rows, the files."""
    lines = [line for line in story.log() if line["logger"] != MAIL]
    found = [Channel(f"log of {line['logger']}", json.dumps(line, ensure_ascii=False).encode()) for line in lines]
    found += dumped(story, url)
    for path in sorted((story.folder / "data").glob("*")):
        may = {"secret key"} if path.name == "keys.json" else set()
        found.append(Channel(f"file {path.name}", path.read_bytes(), may))
    if (file := make_url(url).database) and Path(file).is_file():
        hashes = {name for name in story.secrets if "hash" in name}
        found += [
            Channel(f"file {path.name}", path.read_bytes(), KEPT | hashes) for path in Path(file).parent.glob("*.db*")
        ]
    return found


def dumped(story: Story, url: str) -> list[Channel]:
    """Every row as text. The hashes of passwords become secrets themselves, which stand in their table alone."""
    found: list[Channel] = []

    async def work() -> None:
        engine = engines.migration_engine(url)
        async with engine.connect() as connection:
            for table in tables():
                rows = (await connection.execute(select(table))).all()
                found.append(Channel(f"table {table.name}", "\n".join(map(str, rows)).encode(), set(KEPT)))
                if table is Credentials.__table__:
                    hashes = {f"hash {row.user_id}": row.hashed_password for row in rows}
                    story.secrets.update(hashes, hashing="$argon2id$")
                    found[-1].may |= {*hashes, "hashing"}
                if table is SigningKey.__table__:
                    story.secrets["private key"] = "BEGIN PRIVATE KEY"
        await engine.dispose()

    in_thread(work())
    return found


def test_no_secret_turns_up(ended: Ended) -> None:
    found = scan(ended.channels, ended.secrets)
    size = sum(len(channel.content) for channel in ended.channels)
    print(f"{len(ended.secrets)} secrets, {len(ended.channels)} places, {size} bytes, {len(found)} found")
    assert not found, "\n".join(found[:20])


def test_every_kind_of_answer_was_given(ended: Ended) -> None:
    assert ended.statuses >= STATUSES


def test_what_is_planted_is_found(ended: Ended) -> None:
    """Every secret, in every kind of place where it must not stand, in every form."""
    kinds = {
        channel.name.split(" ")[0].rstrip(":"): channel for channel in ended.channels if len(channel.content) < 10**6
    }
    assert {"anybody", "bob", "eve", "ada", "log", "table", "file", "broadsheet", "greeting"} <= kinds.keys()
    for name, secret in ended.secrets.items():
        for channel in kinds.values():
            for looks in planted(secret):
                copy = replace(channel, content=channel.content + looks)
                assert bool(scan([copy], {name: secret})) is (name not in channel.may), (name, channel.name, looks)


def planted(secret: str) -> list[bytes]:
    raw = secret.encode()
    found = [b" " + raw + b" "]
    if not secret.isdigit():
        found += [raw.hex().encode(), *(b64(b"-" * n + raw + b"x" * n) for n in range(3))]
    return found


def b64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw)
