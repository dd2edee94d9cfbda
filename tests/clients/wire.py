"""The account API without a client: requests as the clients send them, and answers read by their own models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel
from supabase_auth.helpers import handle_exception
from supabase_auth.types import Session

from tests.clients.accounts import newcomer
from tests.clients.conftest import Site

Model = TypeVar("Model", bound=BaseModel)

VERSION = {"x-supabase-api-version": "2024-01-01"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@dataclass(frozen=True, slots=True)
class Wire:
    """Requests as the clients send them, and nothing done with the answer."""

    site: Site
    http: httpx.AsyncClient

    async def send(
        self, method: str, path: str, body: Any = None, *, token: str = "", key: str = "", **more: Any
    ) -> httpx.Response:
        key = key or self.site.publishable
        headers = {"apikey": key, "authorization": f"Bearer {token or key}", **VERSION}
        content = {} if body is None else {"json": body}
        return await self.http.request(method, f"{self.site.url}/auth/v1{path}", headers=headers, **content, **more)

    async def admin(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return await self.send(method, path, body, key=self.site.secret)

    async def sign_up(self, **data: Any) -> tuple[Session, dict[str, Any]]:
        """The session of somebody new, and the answer."""
        person = newcomer()
        answer = await self.send("POST", "/signup", {"email": person.email, "password": person.password, "data": data})
        return read(Session, answer), answer.json()


def read(model: type[Model], answer: httpx.Response) -> Model:
    """Strictly: no number for a text, no null for what is absent, and times as RFC 3339 writes them."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["x-supabase-api-version"] == "2024-01-01"
    for name, value in leaves(answer.json()):
        assert value is not None, name
        assert not name.endswith("_at") or isinstance(value, int) or TIME.fullmatch(value), name
    return model.model_validate_json(answer.content, strict=True)


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, name)
    else:
        yield name, value


def read_errors(answer: httpx.Response) -> list[Any]:
    """What the client makes of an answer, with the header of the newer version and where CORS hides it."""
    assert answer.headers["content-type"].startswith("application/json")
    body = answer.json()
    assert body["error_code"] == body["code"]
    assert body["msg"] == body["message"]
    hidden = [(name, value) for name, value in answer.headers.items() if name != "x-supabase-api-version"]
    older = httpx.Response(answer.status_code, headers=hidden, json=body, request=answer.request)
    return [
        handle_exception(httpx.HTTPStatusError("", request=each.request, response=each)) for each in (answer, older)
    ]
