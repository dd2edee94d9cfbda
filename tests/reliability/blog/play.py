"""One run of the model beside the service: each request goes to both, and whatever they disagree about ends it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec

from app.data.rules import ANONYMOUS, Principal, Role, user
from tests.conftest import EPOCH, Clock
from tests.reliability.blog.kept import PostgresKept, SqliteKept, Tables, differences, faults
from tests.reliability.blog.posts import Expected
from tests.reliability.blog.refusing import Refusal
from tests.reliability.blog.state import UNKNOWN, Fresh, Row, State, Unit
from tests.reliability.inside import Answer, Service

SECRET = Principal(Role.SERVICE, key_id="5ec7e7")
SHOWN = 240  # characters of an answer in the story
Predict = Callable[[State, Unit], Expected]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked, and what the model does about it."""

    method: str
    target: str
    predict: Predict
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Tally:
    """What all runs of a trial did."""

    runs: int = 0
    steps: int = 0
    pairs: set[tuple[str, str]] = field(default_factory=set)
    rules: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)


@dataclass(slots=True)
class Stage:
    """What the runs of a trial share. Its loop is the one of the service."""

    runner: asyncio.Runner
    service: Service
    kept: SqliteKept | PostgresKept
    clock: Clock
    tally: Tally = field(default_factory=Tally)


class Disagreement(AssertionError):
    """The service and the model, or what was kept, differ."""


class Play:
    """A run from an empty database on. `story` has every request and its answer."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.state = State()
        self.story: list[str] = []
        self._last = ""
        stage.tally.runs += 1
        stage.clock.now = EPOCH
        stage.runner.run(stage.kept.empty())

    def caller(self, kind: str) -> Principal:
        """Somebody of this kind who may come in; the secret key where there is nobody."""
        if kind == "anonymous":
            return ANONYMOUS
        role = "author" if kind == "other" else kind
        found = [row["id"] for row in self.state.present("users") if row["role"] == role and row["is_active"]]
        if kind == "other":
            found = found[1:]
        return user(found[0], role) if found else SECRET

    def step(self, rule: str, who: Principal, request: Request, *, keep: bool = True) -> None:
        """Asks the service and the model. Unless it is to be kept, all must be as before, and the answer the same."""
        tally, clock = self.stage.tally, self.stage.clock
        tally.steps += 1
        tally.rules[rule] += 1
        tally.pairs.add((self._last, rule))
        self._last = rule
        clock.now += timedelta(seconds=1)
        headers = {"x-request-id": f"step-{len(self.story) + 1}", **request.headers}
        if not keep:
            headers["prefer"] = ", ".join(filter(None, (headers.get("prefer"), "tx=rollback")))
        self.stage.runner.run(self._step(who, request, headers, keep=keep))

    async def _step(self, who: Principal, request: Request, headers: Mapping[str, str], *, keep: bool) -> None:
        service, kept = self.stage.service, self.stage.kept
        answer = await service.ask(request.method, request.target, request.body, who=who, headers=headers)
        self.stage.tally.statuses[answer.status] += 1
        self.story.append(_told(who, request, headers, answer))
        before = self.state
        self.state = before.copy()
        unit = Unit(who, _text(self.stage.clock), headers["x-request-id"], Fresh(answer.json, self.state))
        try:
            expected: Expected | Refusal = request.predict(self.state, unit)
        except Refusal as refusal:
            expected, self.state = refusal, before
        if not keep:
            self.state = before
        wrong = list(unlike(answer, expected))
        tables = await kept.read()
        adopt_tags(self.state, tables)
        wrong += [*differences(tables, self.state), *faults(tables)]
        if wrong:
            raise Disagreement("\n".join([*wrong, "after:", *self.story]))


def adopt_tags(state: State, tables: Tables) -> None:
    """A tag that no answer has shown is known by its name."""
    ids = {row["name"]: row["id"] for row in tables["tags"] if row["id"] not in state.tags}
    for key in [key for key in state.tags if key >= UNKNOWN]:
        if (found := ids.get(state.tags[key]["name"])) is not None:
            state.tags[found] = state.tags.pop(key) | {"id": found}
            state.links |= {
                post: frozenset({found if tag == key else tag for tag in tags})
                for post, tags in state.links.items()
                if key in tags
            }


def unlike(answer: Answer, expected: Expected | Refusal) -> list[str]:
    """What of an answer is not as foreseen."""
    if isinstance(expected, Refusal):
        bodies = [msgspec.json.encode(body) for body in expected.bodies]
        if answer.status == expected.status and answer.body in bodies:
            return []
        return [f"answered {answer}, expected {expected.status} {bodies[0].decode()}"]
    if expected.parts is not None:
        return list(_unlike_parts(answer, expected.parts))
    body = b"" if expected.json is None else msgspec.json.encode(expected.json)
    wrong = []
    if (answer.status, answer.body) != (expected.status, body):
        wrong.append(f"answered {answer}, expected {expected.status} {body.decode()}")
    if expected.version is not None and answer.headers.get("etag", "").split("-")[0] != f'"{expected.version}':
        wrong.append(f"ETag {answer.headers.get('etag')} at version {expected.version}")
    if expected.range is not None and answer.headers.get("content-range") != expected.range:
        wrong.append(f"Content-Range {answer.headers.get('content-range')}, expected {expected.range}")
    return wrong


def _unlike_parts(answer: Answer, parts: tuple[Expected, ...]) -> Iterator[str]:
    found = answer.json if answer.status == 200 else []
    if len(found) != len(parts):
        yield f"answered {answer}, expected {len(parts)} parts"
    for number, (one, part) in enumerate(zip(found, parts, strict=False)):
        if (one["status"], one["body"]) != (part.status, part.json):
            yield f"requests[{number}] answered {one}, expected {part.status} {part.json}"


def _text(clock: Clock) -> str:
    return clock.now.isoformat()


def _told(who: Principal, request: Request, headers: Mapping[str, str], answer: Answer) -> str:
    given: Row = {name: value for name, value in headers.items() if name != "x-request-id"}
    name = who.role.value if who.user_id is None else f"{who.role.value} {who.user_id}"
    asked = f"{headers['x-request-id']} {name}: {request.method} {request.target}"
    body = "" if request.body is None else f" {msgspec.json.encode(request.body).decode()}"
    return f"{asked}{body}{f' {given}' if given else ''} -> {str(answer)[:SHOWN]}"
