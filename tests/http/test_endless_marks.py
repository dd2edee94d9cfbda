"""Names: what is too long is refused before anything that takes time is done to it."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest

from app.errors import BadValue
from app.models.names import LONGEST, clean_email, clean_name, clean_tag
from tests.http.conftest import Headers

MARKS = "a" + "\u0301\u0323" * 100_000  # normalising this takes minutes


@pytest.mark.parametrize("clean", [clean_name, clean_tag, clean_email])
def test_marks_without_end_are_refused_at_once(clean: Callable[[str], str]) -> None:
    with pytest.raises(BadValue) as caught:
        clean(MARKS)
    assert caught.value.code == "22001"
    assert clean_name("a" * LONGEST) == "a" * LONGEST


@pytest.mark.parametrize("path", ["/tags", "/posts", "/users", "/rpc/search", "/rest/v1/rpc/search"])
async def test_marks_without_end_stop_no_server(client: httpx2.AsyncClient, secret: Headers, path: str) -> None:
    body = {"name": MARKS, "title": MARKS, "tags": [MARKS], "username": MARKS, "email": MARKS, "q": MARKS}
    wanted = {"/tags": ["name"], "/posts": ["title", "tags"], "/users": ["username", "email"]}.get(path, ["q"])
    for field in wanted:
        given = {"title": "x", "user_id": 1} if field == "tags" else {}
        response = await client.post(path, json={**given, field: body[field]}, headers=secret)
        assert response.status_code in (400, 422), (field, response.text[:200])


async def test_spaces_without_end_in_a_condition_stop_no_server(client: httpx2.AsyncClient) -> None:
    """Looked for by a pattern they took the square of their number: 20 seconds for 30,000."""
    etag = (await client.get("/tags")).headers["etag"]
    for condition in (f"x{' ' * 300_000}x", f"{' ' * 300_000}{etag}{' ' * 300_000}x", '"' * 300_000):
        response = await client.get("/tags", headers={"if-none-match": condition})
        assert response.status_code == (304 if etag in condition else 200)
    response = await client.patch("/tags/1", json={}, headers={"if-match": f"x{' ' * 300_000}x"})
    assert response.status_code in (400, 401)
