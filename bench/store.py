"""Where the benchmarks keep their databases: made once, kept for the next run, remade when what made them changes.

    with open_store(FULL, cores) as store:
        url = store.copy(Backend.POSTGRESQL, Data.BLOG, "litestar")

The folder is `.bench/` in the working tree, or BROADSHEET_BENCH_DIR. Refuses a second benchmark beside a running one:
each would measure the other. The short form keeps nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from app.data.schema import newest_revision
from bench import data, fill
from bench.cluster import Cluster
from bench.data import Rows, Sizes
from bench.peers import pocketbase
from bench.processes import Cores

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(os.environ.get("BROADSHEET_BENCH_DIR") or ROOT / ".bench").absolute()


class Backend(StrEnum):
    POSTGRESQL = "postgresql"
    SQLITE = "sqlite"


class Data(StrEnum):
    """The databases that are kept, to be copied."""

    BLOG = "blog"
    BANK = "bank"  # users with balances, and no posts: what is copied for each load with transfers
    EMPTY = "empty"  # users and tags, for imports


class Busy(Exception):
    """Another benchmark uses the folder."""


@dataclass(frozen=True, slots=True)
class Store:
    folder: Path
    sizes: Sizes
    cluster: Cluster

    @property
    def scratch(self) -> Path:
        """For what one run leaves behind: logs, data directories, copies. Emptied by the next one."""
        return self.folder / "scratch"

    def copy(self, backend: Backend, source: Data, name: str) -> str:
        """The URL of a fresh copy, for one server alone: as libpq reads it, or `sqlite:////path`."""
        self._need(backend, source)
        target = self.name(source, name)
        if backend is Backend.POSTGRESQL:
            self.cluster.copy(source, target)
            return self.cluster.plain_url(target)
        self._remove(target)
        shutil.copy(self._file(source), self._file(target))
        return f"sqlite:///{self._file(target)}"

    def drop(self, backend: Backend, source: Data, name: str) -> None:
        target = self.name(source, name)
        if backend is Backend.POSTGRESQL:
            self.cluster.drop(target)
        else:
            self._remove(target)

    def name(self, source: Data, name: str) -> str:
        """Of a copy."""
        return f"{source}_{name}".replace("-", "_")

    def query(self, backend: Backend, database: str, statement: str) -> list[tuple[Any, ...]]:
        if backend is Backend.POSTGRESQL:
            return self.cluster.run(statement, database=database)
        return query_file(self._file(database), statement)

    def pocketbase(self) -> Path:
        """A data folder of PocketBase with the same posts, to be copied. Raises OSError where it is not installed."""
        folder = self.folder / "pocketbase"
        stamp, wanted = folder / "made", _hash(Path(pocketbase.__file__).read_bytes())
        if not stamp.exists() or stamp.read_text() != wanted:
            print("making the data of PocketBase", flush=True)
            _empty(folder)
            rows = Rows(self.sizes)
            pocketbase.prepare(folder / "data", rows.users(), rows.posts(), rows.tags(), rows.links())
            stamp.write_text(wanted)
        return folder / "data"

    def _need(self, backend: Backend, source: Data) -> None:
        stamp = self.folder / f"made-{backend}-{source}"
        if stamp.exists():
            return
        print(f"making the database {source} of {self.sizes.posts:,} posts on {backend}", flush=True)
        tables = _tables(source, self.sizes)
        if backend is Backend.POSTGRESQL:
            self.cluster.create(source)
            fill.postgresql(self.cluster.plain_url(source), tables)
        else:
            self._remove(source)
            fill.sqlite(self._file(source), tables)
        stamp.touch()

    def _file(self, database: str) -> Path:
        kept = database in Data.__members__.values()
        return (self.folder / "sqlite" if kept else self.scratch) / f"{database}.db"

    def _remove(self, database: str) -> None:
        for ending in ("", "-wal", "-shm"):
            Path(f"{self._file(database)}{ending}").unlink(missing_ok=True)


def query_file(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """Of a SQLite file."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


@contextlib.contextmanager
def open_store(sizes: Sizes, cores: Cores, *, kept: bool = True) -> Generator[Store]:
    """With its PostgreSQL running. Raises Busy."""
    with contextlib.ExitStack() as stack:
        folder = _kept(stack) if kept else _thrown_away(stack)
        stamp = folder / "key"
        if not stamp.exists() or stamp.read_text() != key(sizes):
            _empty(folder)
            stamp.write_text(key(sizes))
        cluster = stack.enter_context(Cluster(folder / "postgresql", cores.client))
        cluster.drop_others(Data)  # copies of a run that was killed
        store = Store(folder, sizes, cluster)
        _empty(store.scratch)
        yield store


def _kept(stack: contextlib.ExitStack) -> Path:
    folder = FOLDER / "data"
    folder.mkdir(parents=True, exist_ok=True)
    lock = stack.enter_context((FOLDER / "lock").open("w"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Busy(f"another benchmark runs in {FOLDER}: wait for it, or set BROADSHEET_BENCH_DIR") from None
    return folder


def _thrown_away(stack: contextlib.ExitStack) -> Path:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="broadsheet-bench-")))
    folder.chmod(0o755)  # PostgreSQL does not run as root, and must get through
    return folder


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o755)


def key(sizes: Sizes) -> str:
    """Of all that the databases are made from."""
    sources = b"".join(Path(str(module.__file__)).read_bytes() for module in (data, fill))
    return _hash(repr((sizes, newest_revision())).encode() + sources)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _tables(name: Data, sizes: Sizes) -> fill.Tables:
    match name:
        case Data.BLOG:
            return fill.blog(sizes)
        case Data.BANK:
            return fill.bank(sizes)
        case Data.EMPTY:
            return fill.blog(sizes, posts=False)
