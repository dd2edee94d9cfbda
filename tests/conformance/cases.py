"""A case: a request and what must come back. Read from `cases/*.toml`, which know these keys and no others.

request   method, a space, path and query string, written as people read them: what a URL cannot hold is encoded
who       anonymous (default), secret, or the name of a user of `blog.toml`
headers   of the request
send      its body; JSON unless `headers` say otherwise
status    200 unless given
answer    the body, byte for byte
code      or: the error's code; message, details and hint are compared where they are given ("null" is no text)
expect    headers of the answer; true where one must be there, false where it must not
then      further requests of the same case, which see what the first has done
limits    limits or settings that differ from the defaults, for the whole file or one case
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

FOLDER = Path(__file__).resolve().parent
READS = ("GET", "HEAD", "OPTIONS")
SAFE = "/?=&%+:,;.()*!$'@~[]-_"


@dataclass(frozen=True)
class Step:
    request: str
    who: str = "anonymous"
    headers: Mapping[str, str] = field(default_factory=dict)
    send: str | None = None
    status: int = 200
    answer: str | None = None
    code: str | None = None
    message: str | None = None
    details: Any = None
    hint: str | None = None
    expect: Mapping[str, str | bool] = field(default_factory=dict)

    @property
    def method(self) -> str:
        return self.request.partition(" ")[0]

    def path(self, prefix: str) -> str:
        return quote(prefix + self.request.partition(" ")[2], safe=SAFE)


@dataclass(frozen=True)
class Case:
    """`writes` says whether the rows may have changed when it is over."""

    name: str
    file: str
    prefix: str
    limits: tuple[tuple[str, Any], ...]
    steps: tuple[Step, ...]

    @property
    def writes(self) -> bool:
        return any(step.method not in READS for step in self.steps)


KEYS = {f.name for f in fields(Step)}


def load() -> list[Case]:
    return [case for path in sorted((FOLDER / "cases").glob("*.toml")) for case in _cases(path)]


def _cases(path: Path) -> Iterator[Case]:
    page = tomllib.loads(path.read_text())
    for found in page["case"]:
        given = {**page.get("limits", {}), **found.pop("limits", {})}
        limits = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
        name, then = found.pop("name"), found.pop("then", [])
        steps = tuple(_step(path.name, name, step) for step in (found, *then))
        yield Case(name, path.stem, page.get("prefix", "/rest/v1"), tuple(sorted(limits.items())), steps)


def _step(file: str, name: str, values: dict[str, Any]) -> Step:
    if unknown := values.keys() - KEYS:
        raise ValueError(f"{file}: {name}: unknown {', '.join(sorted(unknown))}")
    return Step(**values)
