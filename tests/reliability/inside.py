"""The application in process: no socket and no client library, so that a request costs what the service costs.

async with serving(create_app(settings, authenticate=by_name, database=database)) as service:
    answer = await service.ask("PATCH", "/posts/1", {"title": "x"}, who=user(1, "author"))
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.types import Message

from app.data.database import Database
from app.data.rules import ANONYMOUS, Principal, Role

CALLER = "x-caller"
NOTHING: Mapping[str, str] = {}


async def by_name(headers: Headers, database: Database) -> Principal:
    """For `create_app`: a header of `Service.ask` names the caller, and is believed."""
    if CALLER not in headers:
        return ANONYMOUS
    role, user_id, key_id = headers[CALLER].split(" ")
    return Principal(Role(role), int(user_id) if user_id else None, key_id or None)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """What the body says, None where there is none."""
        return msgspec.json.decode(self.body) if self.body else None

    def __str__(self) -> str:
        return f"{self.status} {self.body.decode()[:1000]}"


@dataclass(frozen=True, slots=True)
class Service:
    """An application whose lifespan runs."""

    app: Starlette
    state: Mapping[str, Any]

    async def ask(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        who: Principal = ANONYMOUS,
        headers: Mapping[str, str] = NOTHING,
    ) -> Answer:
        """`target` is a path and its query string, percent-encoded; a `body` goes as JSON."""
        content = b"" if body is None else msgspec.json.encode(body)
        messages: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Message) -> None:
            messages.append(message)

        await self.app(self._scope(method, target, content, named(who) | dict(headers)), receive, send)
        return _answer(messages)

    def _scope(self, method: str, target: str, content: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        path, _, query = target.partition("?")
        given = [(b"host", b"test"), (b"content-length", b"%d" % len(content))] if content else [(b"host", b"test")]
        if content and "content-type" not in headers:
            given.append((b"content-type", b"application/json"))
        return {
            "type": "http",
            "http_version": "1.1",
            "asgi": {"version": "3.0"},
            "scheme": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": given + [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("test", 80),
            "state": dict(self.state),
        }


def named(who: Principal) -> dict[str, str]:
    if who is ANONYMOUS:
        return {}
    return {CALLER: f"{who.role.value} {'' if who.user_id is None else who.user_id} {who.key_id or ''}"}


@asynccontextmanager
async def serving(app: Starlette) -> AsyncGenerator[Service]:
    async with app.router.lifespan_context(app) as state:
        yield Service(app, dict(state or {}))


def _answer(messages: list[Message]) -> Answer:
    start = messages[0]
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]}
    return Answer(start["status"], headers, b"".join(m.get("body", b"") for m in messages[1:]))
