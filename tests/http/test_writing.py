"""POST, PATCH, PUT and DELETE: what comes back, conditions, what a write may not do."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from app.data.database import Database
from tests.http.conftest import Blog, Headers

SURFACES = pytest.mark.parametrize("prefix", ["", "/rest/v1"], ids=["plain", "rest"])
MINIMAL = {"prefer": "return=minimal"}
REPRESENTATION = {"prefer": "return=representation"}


def new_post(blog: Blog, **more: Any) -> dict[str, Any]:
    return {"user_id": blog.ada, "title": "New", **more}


# ---- POST -----------------------------------------------------------------------------------------------------------


async def test_plain_post_answers_the_row(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    row = new_post(blog, tags=["python", "new one"], status="published")
    response = await client.post("/posts?select=id,title,slug,status,version,tags(name)", json=row, headers=secret)
    assert response.status_code == 201
    made = response.json()
    number = made.pop("id")
    assert made == {
        "title": "New",
        "slug": "new",
        "status": "published",
        "version": 1,
        "tags": [{"name": "python"}, {"name": "new one"}],
    }
    assert response.headers["location"] == f"/posts/{number}"
    again = await client.get(f"/posts/{number}?select=id,title,slug,status,version,tags(name)", headers=secret)
    assert again.content == response.content
    assert again.headers["etag"] == response.headers["etag"]


async def test_plain_post_of_a_list_answers_a_list(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    rows = [new_post(blog), new_post(blog)]
    response = await client.post("/posts?select=slug", json=rows, headers=secret)
    assert (response.status_code, response.json()) == (201, [{"slug": "new"}, {"slug": "new-2"}])
    assert "location" not in response.headers


async def test_plain_post_answers_nothing_when_asked(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    response = await client.post("/posts", json=new_post(blog), headers={**secret, **MINIMAL})
    assert (response.status_code, response.content) == (201, b"")
    assert response.headers["preference-applied"] == "return=minimal"
    assert "content-type" not in response.headers
    assert (await client.get(response.headers["location"], headers=secret)).json()["title"] == "New"


async def test_rest_post_answers_nothing(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    response = await client.post("/rest/v1/posts", json=new_post(blog), headers=secret)
    assert (response.status_code, response.content) == (201, b"")
    assert response.headers["content-range"] == "*/*"
    assert response.headers["content-length"] == "0"
    assert not {"location", "preference-applied", "content-type"} & response.headers.keys()


async def test_rest_post_answers_a_list_when_asked(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    headers = {**secret, **REPRESENTATION}
    response = await client.post("/rest/v1/posts?select=title", json=new_post(blog), headers=headers)
    assert (response.status_code, response.json()) == (201, [{"title": "New"}])
    assert response.headers["preference-applied"] == "return=representation"


async def test_rest_post_names_the_new_row(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    headers = {**secret, "prefer": "handling=strict, return=headers-only"}
    response = await client.post("/rest/v1/tags", json={"name": "new"}, headers=headers)
    assert (response.status_code, response.content) == (201, b"")
    assert response.headers["preference-applied"] == "return=headers-only, handling=strict"
    assert (await client.get("/rest/v1" + response.headers["location"])).json()[0]["name"] == "new"


@pytest.mark.parametrize(("prefix", "body"), [("", b"[]"), ("/rest/v1", b"")])
async def test_empty_list_makes_nothing(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, prefix: str, body: bytes
) -> None:
    response = await client.post(f"{prefix}/posts", json=[], headers=secret)
    assert (response.status_code, response.content) == (201, body)


async def test_unknown_preferences_are_ignored(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    headers = {**secret, "prefer": "return=all, tx=commit", "content-type": "application/json; charset=UTF-8"}
    response = await client.post("/posts", content=b'{"title":"x","user_id":%d}' % blog.ada, headers=headers)
    assert (response.status_code, response.json()["title"]) == (201, "x")
    assert "preference-applied" not in response.headers


@SURFACES
async def test_password_is_never_shown(
    client: httpx2.AsyncClient, database: Database, secret: Headers, prefix: str
) -> None:
    row = {"username": "eve", "password": "a good long secret"}
    response = await client.post(f"{prefix}/users", json=row, headers={**secret, **REPRESENTATION})
    assert response.status_code == 201
    answers = [response, await client.get("/users", headers=secret), await client.get("/revisions", headers=secret)]
    for text in (answer.text for answer in answers):
        assert "eve" in text
        assert "password" not in text
        assert "a good long secret" not in text
        assert "argon2" not in text


async def test_revision_names_key_and_request(
    client: httpx2.AsyncClient, blog: Blog, database: Database, secret: Headers
) -> None:
    await client.post("/posts", json=new_post(blog), headers={**secret, "x-request-id": "order-66"})
    rows = (await client.get("/revisions?request_id=eq.order-66", headers=secret)).json()
    assert len(rows) == 1
    assert len(rows[0]["key_id"]) == 16
    assert rows[0]["actor_id"] is None


# ---- PATCH and PUT --------------------------------------------------------------------------------------------------


async def test_patch_changes_what_it_names(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    before = (await client.get(f"/posts/{blog.post}", headers=secret)).json()
    response = await client.patch(f"/posts/{blog.post}", json={"title": "Changed"}, headers=secret)
    assert response.status_code == 200
    after = response.json()
    assert {name for name in before if before[name] != after[name]} <= {"title", "version", "updated_at"}
    assert (after["title"], after["version"]) == ("Changed", 2)
    again = await client.get(f"/posts/{blog.post}", headers=secret)
    assert (again.content, again.headers["etag"]) == (response.content, response.headers["etag"])


async def test_patch_of_nothing_changes_nothing(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    for values in ({}, {"title": "Hello"}, {"tags": ["sql", "python"]}):
        response = await client.patch(f"/posts/{blog.post}?select=version", json=values, headers=secret)
        assert (response.status_code, response.json()) == (200, {"version": 1})


async def test_patch_of_tags_alone_is_a_change(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    path = f"/posts/{blog.post}?select=version,tags(name)"
    response = await client.patch(path, json={"tags": ["sql"]}, headers=secret)
    assert response.json() == {"version": 2, "tags": [{"name": "sql"}]}


async def test_patch_answers_nothing_when_asked(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    response = await client.patch(f"/posts/{blog.post}", json={"title": "x"}, headers={**secret, **MINIMAL})
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["preference-applied"] == "return=minimal"


async def test_put_replaces(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    """What is absent takes its default or NULL; the write-only tags stay as they are."""
    row = {"id": blog.post, "user_id": blog.bob, "title": "Whole", "slug": "whole"}
    path = f"/posts/{blog.post}?select=user_id,title,slug,content,status,published_at,tags(name)&tags.order=name"
    response = await client.put(path.partition("&")[0], json=row, headers=secret)
    assert response.status_code == 200
    assert (await client.get(path, headers=secret)).json() == {
        "user_id": blog.bob,
        "title": "Whole",
        "slug": "whole",
        "content": "",
        "status": "draft",
        "published_at": None,
        "tags": [{"name": "python"}, {"name": "sql"}],
    }


async def test_put_without_a_required_field_is_refused(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    response = await client.put(f"/posts/{blog.post}", json={"title": "Whole"}, headers=secret)
    assert (response.status_code, response.json()["code"]) == (422, "23502")
    assert response.json()["details"].count("not-null") == 2


async def test_put_of_another_id_is_refused(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    row = {"id": blog.draft, **new_post(blog, slug="x")}
    response = await client.put(f"/posts/{blog.post}", json=row, headers=secret)
    assert (response.status_code, response.json()["code"]) == (400, "PGRST115")


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
@pytest.mark.parametrize("which", ["missing", "deleted", "bad"])
async def test_write_to_a_row_that_is_not_there(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, method: str, which: str
) -> None:
    number = {"missing": 999_999, "deleted": blog.deleted, "bad": "abc"}[which]
    row = new_post(blog, slug="x") if method == "PUT" else {}
    response = await client.request(method, f"/posts/{number}", json=row, headers=secret)
    assert (response.status_code, response.json()["code"]) == (404, "BRD404")


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_item_write_takes_one_object(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, method: str
) -> None:
    response = await client.request(method, f"/posts/{blog.post}", json=[{"title": "x"}], headers=secret)
    assert (response.status_code, response.json()["code"]) == (400, "PGRST102")


# ---- DELETE ---------------------------------------------------------------------------------------------------------


async def test_delete_removes(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    response = await client.delete(f"/posts/{blog.post}", headers=secret)
    assert (response.status_code, response.content) == (204, b"")
    assert (await client.get(f"/posts/{blog.post}", headers=secret)).status_code == 404


async def test_delete_shows_the_row_as_it_was(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    path = f"/posts/{blog.post}?select=title,version,tags(name)"
    response = await client.delete(path, headers={**secret, **REPRESENTATION})
    assert response.status_code == 200
    assert response.json() == {"title": "Hello", "version": 1, "tags": [{"name": "python"}, {"name": "sql"}]}


async def test_refused_delete_leaves_the_row(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    response = await client.delete(f"/users/{blog.ada}", headers=secret)
    assert (response.status_code, response.json()["code"]) == (409, "BRD409")
    assert (await client.get(f"/users/{blog.ada}")).status_code == 200


# ---- If-Match -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ['"1"', '"1-0123abcd"', "*", '"7", "1-abc"', 'W/"9", "1"'])
async def test_expected_version_is_changed(client: httpx2.AsyncClient, blog: Blog, secret: Headers, given: str) -> None:
    headers = {**secret, "if-match": given}
    response = await client.patch(f"/posts/{blog.post}", json={"title": "x"}, headers=headers)
    assert (response.status_code, response.json()["version"]) == (200, 2)


@pytest.mark.parametrize("given", ['"2"', '"2-0123abcd"', 'W/"1"', '"7", "8"', '"abc"', '""'])
@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
async def test_other_version_is_refused(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, method: str, given: str
) -> None:
    headers = {**secret, "if-match": given}
    row = new_post(blog, slug="x")
    response = await client.request(method, f"/posts/{blog.post}", json=row, headers=headers)
    assert (response.status_code, response.json()["code"]) == (412, "BRD412")
    assert (await client.get(f"/posts/{blog.post}")).json()["title"] == "Hello"


async def test_tag_of_a_read_guards_a_write(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    etag = (await client.get(f"/posts/{blog.post}")).headers["etag"]
    headers = {**secret, "if-match": etag}
    assert (await client.patch(f"/posts/{blog.post}", json={"title": "a"}, headers=headers)).status_code == 200
    assert (await client.patch(f"/posts/{blog.post}", json={"title": "b"}, headers=headers)).status_code == 412


async def test_unreadable_condition_is_refused(client: httpx2.AsyncClient, blog: Blog, secret: Headers) -> None:
    headers = {**secret, "if-match": "1"}
    response = await client.patch(f"/posts/{blog.post}", json={"title": "x"}, headers=headers)
    assert (response.status_code, response.json()["code"]) == (400, "PGRST100")


# ---- who may --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/posts"),
        ("POST", "/rest/v1/posts"),
        ("POST", "/transfers"),
        ("PATCH", "/posts/{post}"),
        ("PUT", "/posts/{post}"),
        ("DELETE", "/posts/{post}"),
        ("PATCH", "/users/{ada}"),
        ("DELETE", "/users/{ada}"),
        ("PATCH", "/posts/{draft}"),
        ("PATCH", "/posts/999999"),
    ],
)
async def test_write_without_a_key_is_refused(client: httpx2.AsyncClient, blog: Blog, method: str, path: str) -> None:
    url = path.format(post=blog.post, draft=blog.draft, ada=blog.ada)
    response = await client.request(method, url, json={"title": "x"})
    assert (response.status_code, response.json()["code"]) == (401, "42501")
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["message"].startswith("permission denied for table ")


@pytest.mark.parametrize("path", ["/transfers", "/rest/v1/revisions", "/post_tags"])
async def test_read_only_table_is_refused_with_a_key(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, path: str
) -> None:
    response = await client.post(path, json={}, headers=secret)
    assert (response.status_code, response.json()["code"]) == (403, "42501")
    assert "www-authenticate" not in response.headers


async def test_every_read_sees_a_committed_write(
    client: httpx2.AsyncClient, database: Database, secret: Headers
) -> None:
    """The answer is sent after the commit, so the next read on another connection has it."""
    for number in range(20):
        made = (await client.post("/tags", json={"name": f"tag {number}"}, headers=secret)).json()
        assert (await client.get(f"/tags/{made['id']}")).status_code == 200
