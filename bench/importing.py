"""The import of all posts: `broadsheet import jsonl`, the whole program from its start to its end, beside asyncpg's
COPY of the rows that it made. Users and tags are there before.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from time import perf_counter

from bench.data import Row as Values
from bench.data import Rows, tag_of
from bench.figures import Round, Row
from bench.processes import Cores, Failed, Process, children_cpu, cpu_seconds
from bench.store import ROOT, Backend, Data, Store

LOAD = "import"
MOST_ROUNDS = 3  # each takes a minute
COUNTS = "SELECT (SELECT count(*) FROM posts), (SELECT count(*) FROM post_tags), (SELECT count(*) FROM revisions)"


class Importing:
    """On one database."""

    def __init__(self, store: Store, backend: Backend, cores: Cores) -> None:
        self.store = store
        self.backend = backend
        self.cores = cores

    def run(self, rounds: int, variants: Collection[str]) -> list[Row]:
        """COPY needs the rows that the import before it made, so both take turns."""
        file = self.store.scratch / "posts.jsonl"
        file.write_text("".join(lines(Rows(self.store.sizes))))
        plays: dict[str, Callable[[], Round]] = {"broadsheet": lambda: self._import(file)}
        if self.backend is Backend.POSTGRESQL:
            plays["asyncpg-copy"] = self._copy
        rows = {name: Row(self.backend, LOAD, name) for name in plays if name in variants}
        for _ in range(min(rounds, MOST_ROUNDS)):
            for name, play in plays.items():
                try:
                    measured = play()
                except Failed as exc:
                    measured = Round.failed(str(exc))
                if name in rows:
                    rows[name].rounds.append(measured)
        for name in plays:
            self.store.drop(self.backend, Data.EMPTY, name)
        return list(rows.values())

    def _import(self, file: Path) -> Round:
        url = self.store.copy(self.backend, Data.EMPTY, "broadsheet")
        program = [str(Path(sys.executable).with_name("broadsheet")), "import", "jsonl", str(file)]
        settings = {"BROADSHEET_DATABASE_URL": url, "BROADSHEET_DATA_DIR": str(self.store.scratch / "importer")}
        began = perf_counter()
        _, server, database = self._spend(program, settings)
        seconds = perf_counter() - began
        self._check("broadsheet")
        return self._round(seconds, server, database)

    def _copy(self) -> Round:
        url = self.store.copy(self.backend, Data.EMPTY, "asyncpg-copy")
        source = self.store.cluster.plain_url(self.store.name(Data.EMPTY, "broadsheet"))
        said, _, database = self._spend([sys.executable, "-m", "bench.copying", source, url], {})
        spent = json.loads(said.splitlines()[-1])
        self._check("asyncpg-copy")
        return self._round(spent["seconds"], spent["cpu"], database)

    def _spend(self, command: list[str], settings: dict[str, str]) -> tuple[str, float, float]:
        """What it printed, its CPU and that of the database. Raises Failed."""
        log = self.store.scratch / "importing.log"
        log.unlink(missing_ok=True)
        pids = [self.store.cluster.pid]
        (before,), used = cpu_seconds(pids), children_cpu()
        process = Process(command, {**os.environ, "PYTHONPATH": str(ROOT), **settings}, log, self.cores.server)
        try:
            if process.wait() != 0:
                raise Failed(process.last_words())
        finally:
            process.stop()
        return log.read_text(), children_cpu() - used, cpu_seconds(pids)[0] - before

    def _check(self, variant: str) -> None:
        """Every post has its links and its revision. Raises Failed."""
        (found,) = self.store.query(self.backend, self.store.name(Data.EMPTY, variant), COUNTS)
        posts = self.store.sizes.posts
        wanted = (posts, sum(1 for _ in Rows(self.store.sizes).links()), posts)
        if found != wanted:
            raise Failed(f"{found} posts, links and revisions, not {wanted}")

    def _round(self, seconds: float, server: float, database: float) -> Round:
        posts = self.store.sizes.posts
        whole = seconds * 1000
        return Round(posts / seconds, whole, whole, server / posts * 1e6, database / posts * 1e6)


def lines(rows: Rows) -> Iterator[str]:
    """The posts in Broadsheet's own form, after the users and tags that they name."""
    yield _line({"broadsheet": 1})
    yield from (_line({"user": _only(user, "username", "full_name", "email", "role")}) for user in rows.users())
    yield from (_line({"tag": _only(tag, "name")}) for tag in rows.tags())
    tagged = groupby(rows.links(), itemgetter("post_id"))  # every post has some
    for post, (_, links) in zip(rows.posts(), tagged, strict=True):
        told = _only(post, "slug", "title", "content", "status", "published_at", "created_at", "updated_at")
        author, tags = f"user{post['user_id']}", [tag_of(link["tag_id"]) for link in links]
        yield _line({"post": told | {"author": author, "tags": tags}})


def _only(row: Values, *names: str) -> Values:
    return {name: row[name] for name in names}


def _line(content: Values) -> str:
    return json.dumps(content, default=datetime.isoformat) + "\n"
