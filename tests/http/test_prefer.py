"""Preferences: which are known, honoured and echoed, and what handling=strict refuses."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from starlette.datastructures import Headers as Given

from app.data.database import Database
from app.errors import BadQuery
from app.http.preferences import NONE, Prefer, prefer_of
from app.settings import Settings
from tests.http.asking import OBJECT, REST, SURFACES, make_tags, prefer, service_client
from tests.http.conftest import Blog, Headers

# ---- the header -----------------------------------------------------------------------------------------------------


def read(*lines: str) -> Prefer:
    return prefer_of(Given(raw=[(b"prefer", line.encode()) for line in lines]))


def test_no_header_is_no_preference() -> None:
    assert read() is NONE


def test_several_headers_and_lists_are_one() -> None:
    found = read("return=minimal,count=exact", " missing=default , tx=rollback")
    assert (found.returns, found.count, found.missing, found.tx) == ("minimal", "exact", "default", "rollback")


def test_first_value_counts() -> None:
    assert read("return=minimal, return=representation").returns == "minimal"
    assert read("return=all, return=representation").returns == "representation"
    assert read("max-affected=3", "max-affected=4, handling=strict").most == 3


@pytest.mark.parametrize(
    "text",
    ["return=all", "count=none", "count", "wait=5", "max-affected=x", "max-affected=-1", "max-affected=", "timezone="],
)
def test_unknown_preferences_are_refused_only_under_strict(text: str) -> None:
    read(text).check()
    with pytest.raises(BadQuery) as refusal:
        read(f"{text}, handling=strict, other").check()
    assert (refusal.value.code, refusal.value.details) == ("PGRST122", f"Invalid preferences: {text}, other")


def test_known_preferences_pass_under_strict() -> None:
    everything = "resolution=merge-duplicates, missing=null, return=headers-only, count=planned, tx=commit"
    read(everything, "handling=strict, timezone=UTC, max-affected=0").check()


def test_most_rows_need_strict_handling() -> None:
    assert read("max-affected=3").most is None
    assert read("max-affected=3, handling=strict").most == 3


@pytest.mark.parametrize("zone", ["UTC", "utc", "Etc/UTC", "Zulu", "GMT", "Etc/Greenwich"])
def test_names_of_utc_are_honoured(zone: str) -> None:
    read(f"timezone={zone}").check()


@pytest.mark.parametrize("zone", ["Europe/Berlin", "america/new_york"])
def test_other_zones_are_honoured(zone: str) -> None:
    read(f"timezone={zone}").check()


def test_zones_that_do_not_exist_are_refused_always() -> None:
    with pytest.raises(BadQuery) as refusal:
        read("timezone=Mars/Base").check()
    assert (refusal.value.code, refusal.value.status) == ("22023", 400)


def test_header_that_is_too_long_is_refused() -> None:
    with pytest.raises(BadQuery):
        read("x" * 1025)


def test_applied_has_its_order() -> None:
    wish = "max-affected=2, timezone=UTC, handling=strict, tx=rollback, count=exact, return=minimal, missing=null"
    found = read(wish + ", resolution=ignore-duplicates")
    everything = "missing=null, return=minimal, count=exact, tx=rollback, handling=strict, timezone=UTC"
    cases: dict[tuple[str, bool, bool], str] = {
        ("POST", True, True): f"resolution=ignore-duplicates, {everything}, max-affected=2",
        ("POST", False, True): f"{everything}, max-affected=2",
        ("PATCH", True, True): f"{everything}, max-affected=2",
        ("PATCH", False, False): f"{everything}, max-affected=2".replace("tx=rollback, ", ""),
        ("DELETE", False, True): f"{everything}, max-affected=2".replace("missing=null, ", ""),
        ("PUT", False, True): everything.replace("missing=null, ", ""),
        ("GET", False, True): "count=exact, tx=rollback, handling=strict, timezone=UTC",
    }
    for (method, keyed, tx), text in cases.items():
        assert found.applied(method, keyed=keyed, tx=tx) == {"Preference-Applied": text}, method


# ---- over HTTP ------------------------------------------------------------------------------------------------------


@SURFACES
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE", "PUT"])
async def test_strict_refuses_before_anything_is_written(
    client: httpx2.AsyncClient, blog: Blog, secret: Headers, prefix: str, method: str
) -> None:
    headers = {**secret, **prefer("handling=strict", "return=all")}
    url = f"{prefix}/posts?id=eq.{blog.post}"
    row = {"id": blog.post} if method == "PUT" else {"title": "New"}
    response = await client.request(method, url, headers=headers, json=None if method == "GET" else row)
    assert (response.status_code, response.json()["code"]) == (400, "PGRST122")
    assert (await client.get(f"/posts/{blog.post}")).json()["title"] == "Hello"


async def test_read_echoes_what_it_honours(client: httpx2.AsyncClient, blog: Blog) -> None:
    wish = prefer("return=minimal", "missing=default", "count=exact", "handling=lenient", "timezone=UTC", "tx=rollback")
    response = await client.get(f"{REST}/posts", headers=wish)
    assert response.headers["preference-applied"] == "count=exact, handling=lenient, timezone=UTC"


async def test_unknown_zone_is_refused(client: httpx2.AsyncClient, blog: Blog) -> None:
    response = await client.get("/posts", headers=prefer("timezone=Moon"))
    assert (response.status_code, response.json()["code"]) == (400, "22023")


@pytest.mark.parametrize(("method", "body"), [("PATCH", {"name": "same"}), ("DELETE", None)])
async def test_too_many_rows_for_max_affected_leave_nothing(
    client: httpx2.AsyncClient, secret: Headers, method: str, body: Any
) -> None:
    one, two = await make_tags(client, secret, "one", "two")
    posts = f"{REST}/users?username=like.u*"
    for name in ("u1", "u2"):
        assert (await client.post("/users", json={"username": name}, headers=secret)).status_code == 201
    url, values = (f"{REST}/tags?id=in.({one},{two})", body) if method == "DELETE" else (posts, {"full_name": "Same"})
    strict = {**secret, **prefer("handling=strict", "max-affected=1")}
    response = await client.request(method, url, json=values, headers=strict)
    assert (response.status_code, response.json()) == (
        400,
        {
            "code": "PGRST124",
            "message": "Query result exceeds max-affected preference constraint",
            "details": "The query affects 2 rows",
            "hint": None,
        },
    )
    assert [row["name"] for row in (await client.get("/tags?order=id")).json()] == ["one", "two"]
    assert {row["full_name"] for row in (await client.get("/users", headers=secret)).json()} == {None}
    lenient = {**secret, **prefer("max-affected=1")}
    response = await client.request(method, url, json=values, headers=lenient)
    assert (response.status_code, response.headers.get("preference-applied")) == (204, None)


async def test_enough_rows_for_max_affected(client: httpx2.AsyncClient, secret: Headers) -> None:
    (one,) = await make_tags(client, secret, "one")
    headers = {**secret, **prefer("handling=strict", "max-affected=1")}
    response = await client.delete(f"{REST}/tags?id=eq.{one}", headers=headers)
    assert response.status_code == 204
    assert response.headers["preference-applied"] == "handling=strict, max-affected=1"


# ---- tx -------------------------------------------------------------------------------------------------------------


@SURFACES
async def test_rollback_answers_and_keeps_nothing(settings: Settings, database: Database, prefix: str) -> None:
    async with service_client(settings, database, allow_rollback=True) as client:
        wish = prefer("tx=rollback", "return=representation")
        response = await client.post(f"{prefix}/tags?select=name", json=[{"name": "gone"}], headers=wish)
        assert (response.status_code, response.json()) == (201, [{"name": "gone"}])
        assert response.headers["preference-applied"] == "return=representation, tx=rollback"
        assert (await client.get("/tags")).json() == []
        (kept,) = await make_tags(client, prefer("tx=commit"), "kept")
        removed = await client.delete(f"{prefix}/tags?id=eq.{kept}&select=name", headers=wish)
        assert (removed.status_code, removed.json()) == (200, [{"name": "kept"}])
        assert len((await client.get("/tags")).json()) == 1
        assert (await client.get("/revisions")).json() == []


async def test_rollback_is_not_applied_unless_it_is_allowed(client: httpx2.AsyncClient, secret: Headers) -> None:
    """Nor is it an error, strict or not."""
    headers = {**secret, **prefer("tx=rollback", "handling=strict")}
    response = await client.post(f"{REST}/tags", json={"name": "kept"}, headers=headers)
    assert (response.status_code, response.headers["preference-applied"]) == (201, "handling=strict")
    assert len((await client.get("/tags")).json()) == 1


# ---- one object -----------------------------------------------------------------------------------------------------


@SURFACES
@pytest.mark.parametrize("returns", ["minimal", "representation"])
@pytest.mark.parametrize("rows", [0, 2])
async def test_write_that_is_not_one_row_is_rolled_back(
    client: httpx2.AsyncClient, secret: Headers, prefix: str, returns: str, rows: int
) -> None:
    await make_tags(client, secret, "one", "two")
    headers = {**secret, **prefer(f"return={returns}"), "accept": OBJECT}
    posted = [{"name": f"new {n}"} for n in range(rows)]
    filters = "name=like.*o*" if rows else "name=eq.nothing"
    for response in (
        await client.post(f"{prefix}/tags", json=posted, headers=headers),
        await client.delete(f"{prefix}/tags?{filters}", headers=headers),
    ):
        assert (response.status_code, response.json()["code"]) == (406, "PGRST116")
        assert response.json()["details"] == f"The result contains {rows} rows"
    assert len((await client.get("/tags")).json()) == 2


async def test_one_row_is_an_object(client: httpx2.AsyncClient, secret: Headers) -> None:
    (one,) = await make_tags(client, secret, "one")
    headers = {**secret, **prefer("return=representation"), "accept": OBJECT}
    made = await client.post(f"{REST}/tags?select=name", json=[{"name": "new"}], headers=headers)
    assert (made.status_code, made.json()) == (201, {"name": "new"})
    assert made.headers["content-type"] == f"{OBJECT}; charset=utf-8"
    patched = await client.patch(f"{REST}/tags?id=eq.{one}&select=name", json={"name": "uno"}, headers=headers)
    assert (patched.status_code, patched.json()) == (200, {"name": "uno"})
    removed = await client.delete(f"{REST}/tags?id=eq.{one}&select=name", headers=headers)
    assert (removed.status_code, removed.json()) == (200, {"name": "uno"})
    minimal = await client.post(f"{REST}/tags", json={"name": "x"}, headers={**secret, "accept": OBJECT})
    assert (minimal.status_code, minimal.content) == (201, b"")
