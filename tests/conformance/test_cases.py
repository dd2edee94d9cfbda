"""Runs every case of `cases/*.toml` through the application, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import httpx2
import msgspec
import pytest

from app.accounts.keys import load_keys
from app.data.database import Database
from app.resources import CATALOG
from tests.conformance.cases import Case, Step, load
from tests.conformance.world import World, restore
from tests.conftest import Clock, Server, fresh_database

CASES = load()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
async def world(
    request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[World]:
    """One database for all cases; the rows are put back after each case that may have changed them."""
    folder = tmp_path_factory.mktemp("conformance")
    for url in fresh_database(request.param, server, folder):
        async with Database(url, CATALOG, clock=Clock()) as database:
            world = World(database, folder, load_keys(folder))
            async with world.stack:
                yield world


def test_there_are_enough_cases_with_names_of_their_own() -> None:
    names = [(case.file, case.name) for case in CASES]
    assert len(names) >= 400
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", CASES, ids=[f"{case.file}: {case.name}" for case in CASES])
async def test_case(world: World, case: Case) -> None:
    if world.changed:
        await restore(world.database)
    world.changed = case.writes
    client = await world.client(case.limits)
    for step in case.steps:
        headers = world.headers(step.who) | dict(step.headers)
        if step.send is not None:
            headers = {"content-type": "application/json"} | headers
        answer = await client.request(step.method, step.path(case.prefix), headers=headers, content=step.send)
        wrong = [*problems(step, answer)]
        assert not wrong, report(step, answer, wrong)


def problems(step: Step, answer: httpx2.Response) -> list[str]:
    """What differs from the case, in words."""
    out = []
    if answer.status_code != step.status:
        out.append(f"status {answer.status_code}, not {step.status}")
    if step.answer is not None and answer.text != step.answer:
        out.append(f"another body, not {step.answer}")
    if step.code is not None:
        out += _error_problems(step, answer)
    for name, value in step.expect.items():
        found = answer.headers.get(name)
        if (found is not None) != value if isinstance(value, bool) else found != value:
            out.append(f"{name}: {found!r}, not {value!r}")
    return out


def _error_problems(step: Step, answer: httpx2.Response) -> list[str]:
    """Every error has its four keys, its type, and names its code where a client without the body can read it."""
    out = []
    try:
        body: Any = msgspec.json.decode(answer.content)
    except msgspec.DecodeError:
        return ["the body is no JSON"]
    if list(body) != ["code", "message", "details", "hint"]:
        return ["the error has other keys than code, message, details, hint"]
    wanted = {name: getattr(step, name) for name in body if getattr(step, name) is not None}
    for name, value in wanted.items():
        if body[name] != (None if value == "null" else value):
            out.append(f"{name}: {body[name]!r}, not {value!r}")
    common = {"content-type": "application/json; charset=utf-8", "proxy-status": f"PostgREST; error={step.code}"}
    out += [
        f"{name}: {answer.headers.get(name)!r}" for name, value in common.items() if answer.headers.get(name) != value
    ]
    return out


def report(step: Step, answer: httpx2.Response, wrong: list[str]) -> str:
    sent = [step.request, f"as {step.who}", *(f"{name}: {value}" for name, value in step.headers.items())]
    got = [str(answer.status_code), *(f"{name}: {value}" for name, value in answer.headers.items()), answer.text[:2000]]
    parts = {"request": [*sent, step.send or ""], "wrong": wrong, "got": got}
    return "\n" + "\n".join(f"{title}\n    " + "\n    ".join(filter(None, lines)) for title, lines in parts.items())
