"""Generated requests against the descriptions: no 5xx, no status, header or body that is not described, and no value
accepted that the description rules out.

The service runs on a thread of its own, for the generator is synchronous.
"""

from __future__ import annotations

import json
import logging
import secrets
import socket
import threading
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
import uvicorn
from hypothesis import strategies
from schemathesis.engine import events, from_schema
from schemathesis.generation.value import GeneratedValue

from app.accounts.keys import load_keys
from app.actions import ACTIONS
from app.data.rules import Role
from app.http.app import create_app
from app.http.openapi.audience import Audience
from app.http.openapi.document import document
from app.http.response import encoded
from app.http.surfaces import REST
from app.resources import CATALOG
from app.settings import Settings

pytestmark = pytest.mark.slow

PHASES = ("examples", "coverage", "fuzzing", "stateful")
Queries = strategies.SearchStrategy[Any]
CHECKS = {
    "negative_data_rejection": {"expected-statuses": ["4xx"]},
    # the grammar of the query string is finer than patterns can say: much that fits them is rightly refused
    "positive_data_acceptance": {"enabled": False},
    # a method that the caller may not use is not described to it, and answers 401 or 403, not 405
    "unsupported_method": {"enabled": False},
    # what OPTIONS answers is the same for every caller
    "allow_header_conformance": {"enabled": False},
}
# The dialect reads a value of another JSON type where its text is one of the column's (1.13): a text takes everything.
COERCED = ("incorrect type", "violates `type`")
ACCOUNTS = "/auth/v1"
OWN = f"{ACCOUNTS}/user"
LEFT_OUT = f"{ACCOUNTS}/logout"  # with a session: it ends the one that the other calls need
# OpenAPI cannot say that a body may be absent, as it is from a POST with `Prefer: return=minimal`
ABOUT_BODIES = ("content_type_conformance", "response_schema_conformance")


@dataclass
class Findings:
    """What a run saw: requests by operation, answers by status, and failed checks with one example each."""

    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return "\n\n".join(f"{title}: {text}" for title, text in sorted(self.failures.items()))

    def add(self, scenario: events.ScenarioFinished) -> None:
        recorder = scenario.recorder
        may_be_empty = recorder.label.startswith("POST ")
        for number, interaction in recorder.interactions.items():
            self.requests[recorder.label] += 1
            if interaction.response is not None:
                self.statuses[interaction.response.status_code] += 1
            for check in recorder.checks.get(number, []):
                body = interaction.response.content if interaction.response else b""
                if check.failure_info is None or (check.name in ABOUT_BODIES and not body and may_be_empty):
                    continue
                if any(words in check.failure_info.failure.message.lower() for words in COERCED):
                    continue
                request = recorder.cases[number].value.as_curl_command()[:1000]
                text = f"{check.failure_info.failure.message[:500]}\n{request}\n{body[:300]!r}"
                self.failures.setdefault(f"{recorder.label}, {check.name}", text)


@contextmanager
def serving(settings: Settings) -> Generator[str]:
    """The URL of a service on loopback."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bind(sock)
        sock.listen()  # what comes before the service is up waits
        server = uvicorn.Server(uvicorn.Config(create_app(settings), log_config=None, lifespan="on"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def bind(sock: socket.socket) -> None:
    """To a port that the system does not give to outgoing connections."""
    while True:
        try:
            return sock.bind(("127.0.0.1", 10_000 + secrets.randbelow(20_000)))
        except OSError:
            continue


def fill(url: str, headers: Mapping[str, str]) -> None:
    """A few rows of every table that takes them."""
    with httpx2.Client(base_url=url, headers=headers) as client:
        for path, row in (
            ("/users", {"username": "ada", "email": "ada@example.org", "role": "author"}),
            ("/users", {"username": "bob", "full_name": "Bob"}),
            ("/tags", {"name": "python"}),
            ("/posts", {"title": "Hello", "user_id": 1, "status": "published", "tags": ["python", "sql"]}),
            ("/posts", {"title": "Draft", "user_id": 1}),
        ):
            response = client.post(path, json=row)
            assert response.status_code == 201, response.text


def headers_of(caller: str, url: str, service: dict[str, str]) -> dict[str, str]:
    if caller == "anonymous":
        return {}
    if caller == "service":
        return service
    person = {"email": "eve@example.org", "password": "correct horse battery"}
    session = httpx2.post(f"{url}{ACCOUNTS}/signup", json=person).json()
    return {"Authorization": f"Bearer {session['access_token']}"}


def described(url: str, surface: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """What the service says of itself to this caller. That of the dialect says less than we can check, so it is made
    in the same way as the other. Those who have a key or a token make the calls of one part alone.
    """
    if surface != "rest":
        found: dict[str, Any] = httpx2.get(f"{url}/openapi.json", headers=headers).json()
        if headers:
            found["paths"] = {path: calls for path, calls in found["paths"].items() if part_of(path) == surface}
        return found
    view = Role.ADMIN if headers else Role.ANONYMOUS
    made: dict[str, Any] = json.loads(encoded(document(Audience(CATALOG, view, REST, Settings().limits), ACTIONS)))
    return made


def part_of(path: str) -> str:
    if path.startswith(ACCOUNTS):
        return {OWN: "session", LEFT_OUT: "none"}.get(path, "accounts")
    return "plain"


def before_generate_query(context: schemathesis.HookContext, strategy: Queries) -> Queries:
    """At most two parameters beside the required ones: one unlucky value among twenty refuses them all."""
    assert context.operation is not None
    required = {p.name for p in context.operation.query if p.is_required}

    def fewer(query: Any, kept: set[int]) -> Any:
        if isinstance(query, GeneratedValue):
            return query.map_value(lambda inner: fewer(inner, kept))
        if not isinstance(query, dict):
            return query
        return {name: value for at, (name, value) in enumerate(query.items()) if name in required or at in kept}

    return strategies.builds(fewer, strategy, strategies.sets(strategies.integers(0, 20), max_size=2))


def explore(
    found: Findings,
    document: dict[str, Any],
    url: str,
    headers: Mapping[str, str],
    phases: tuple[str, ...],
    seconds: int,
) -> None:
    config = schemathesis.Config.from_dict(
        {
            "max-time": seconds,
            "seed": 1,
            "base-url": url,
            "headers": dict(headers),
            "generation": {"max-examples": 5, "database": "none"},
            "phases": {name: {"enabled": name in phases} for name in PHASES},
            "checks": CHECKS,
        }
    )
    schema = schemathesis.openapi.from_dict(document, config=config)
    schema.hook(before_generate_query)
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            found.add(event)
        elif isinstance(event, events.NonFatalError | events.FatalError):
            found.failures["error"] = repr(event)


def faults(caplog: pytest.LogCaptureFixture) -> str:
    """What the service logged of its own faults, each kind once."""
    found = {str(record.exc_info[1]): record for record in caplog.records if record.exc_info}
    return "\n".join(logging.Formatter().format(record)[-1500:] for record in found.values())


@pytest.mark.parametrize(
    ("surface", "caller", "seconds"),
    [
        *[("plain", "service", 5), ("plain", "anonymous", 2), ("rest", "service", 4)],
        *[("accounts", "service", 2), ("session", "member", 1)],
    ],
)
def test_service_does_what_it_describes(
    spare_url: str, tmp_path: Path, surface: str, caller: str, seconds: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Twice as long as it is told to; the ten together take 60 s."""
    caplog.set_level(logging.CRITICAL)
    caplog.set_level(logging.ERROR, "broadsheet.http")
    settings = Settings(data_dir=tmp_path, database_url=spare_url)
    service = {"apikey": load_keys(tmp_path).secret}
    found = Findings()
    with serving(settings) as url:
        fill(url, service)
        headers = headers_of(caller, url, service)
        document = described(url, surface, headers)
        base = url + (REST.prefix if surface == "rest" else "")
        for phases in (("examples", "coverage"), ("fuzzing",)):  # together, the first would take all the time
            explore(found, document, base, headers, phases, seconds)
    assert not found.failures, f"{found}\n\n{faults(caplog)}"
    names = [method for path in document["paths"].values() for method in path if method != "parameters"]
    assert len(found.requests) > len(names) / 2  # a slow machine does not come to all of them
    assert 200 in found.statuses
    assert found.statuses.keys() & {400, 401}
