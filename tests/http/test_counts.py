"""limit, offset, the header Range, counts, Content-Range and the statuses that follow."""

from __future__ import annotations

import httpx2
import pytest

from app.data.database import Database
from app.data.rules import SERVICE
from app.query.estimates import planned_rows
from app.settings import Settings
from tests.conftest import Statements
from tests.http.asking import REST, SURFACES, client_as, make_tags, prefer
from tests.http.conftest import Headers


@pytest.fixture
async def tags(client: httpx2.AsyncClient, secret: Headers) -> list[int]:
    return await make_tags(client, secret, *(f"tag {n}" for n in range(7)))


COUNTED = [
    # query, rows, status, Content-Range
    ("", 7, 200, "0-6/7"),
    ("limit=3", 3, 206, "0-2/7"),
    ("limit=3&offset=4", 3, 206, "4-6/7"),
    ("limit=7", 7, 200, "0-6/7"),
    ("offset=7", 0, 206, "*/7"),
    ("offset=6", 1, 206, "6-6/7"),
    ("limit=0", 0, 206, "*/7"),
    ("name=eq.nothing", 0, 200, "*/0"),
    ("name=eq.tag 3", 1, 200, "0-0/1"),
    ("name=in.(tag 3,tag 4)&limit=1", 1, 206, "0-0/2"),
]


@SURFACES
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("query", "rows", "status", "content_range"), COUNTED, ids=[case[0] for case in COUNTED])
async def test_exact_count(
    client: httpx2.AsyncClient,
    tags: list[int],
    prefix: str,
    method: str,
    query: str,
    rows: int,
    status: int,
    content_range: str,
) -> None:
    response = await client.request(method, f"{prefix}/tags?{query}", headers=prefer("count=exact"))
    assert (response.status_code, response.headers["content-range"]) == (status, content_range)
    assert response.headers["preference-applied"] == "count=exact"
    if method == "GET":
        assert len(response.json()) == rows


@SURFACES
async def test_offset_beyond_the_end(client: httpx2.AsyncClient, tags: list[int], prefix: str) -> None:
    response = await client.get(f"{prefix}/tags?offset=8", headers=prefer("count=exact"))
    assert (response.status_code, response.headers["content-range"]) == (416, "*/7")
    assert response.json() == {
        "code": "PGRST103",
        "message": "Requested range not satisfiable",
        "details": "An offset of 8 was requested, but there are only 7 rows.",
        "hint": None,
    }
    uncounted = await client.get(f"{prefix}/tags?offset=8")
    assert (uncounted.status_code, uncounted.json(), uncounted.headers["content-range"]) == (200, [], "*/*")


async def test_count_takes_one_statement_more(
    client: httpx2.AsyncClient, tags: list[int], statements: Statements
) -> None:
    await client.get("/tags?limit=2&select=name,posts(id)", headers=prefer("count=exact"))
    assert statements.count == 3  # tags, their posts, the count
    statements.clear()
    await client.get("/tags?limit=2&select=name,posts(id)", headers=prefer("count=none"))
    assert statements.count == 2


async def test_count_sees_no_page_and_keeps_the_filters_of_inner_embeds(
    client: httpx2.AsyncClient, tags: list[int], secret: Headers
) -> None:
    author = (await client.post("/users", json={"username": "ada"}, headers=secret)).json()["id"]
    for title, names in (("One", ["tag 1", "tag 2"]), ("Two", ["tag 2"])):
        row = {"title": title, "user_id": author, "status": "published", "tags": names}
        assert (await client.post("/posts", json=row, headers=secret)).status_code == 201
    path = "/tags?select=name,posts!inner(title)&posts.title=eq.One&limit=1"
    response = await client.get(path, headers=prefer("count=exact"))
    assert response.headers["content-range"] == "0-0/2"


@pytest.mark.parametrize("how", ["planned", "estimated"])
async def test_guessed_counts_are_numbers(
    client: httpx2.AsyncClient, secret: Headers, database: Database, tags: list[int], statements: Statements, how: str
) -> None:
    statements.clear()
    response = await client.get("/tags?limit=2", headers={**secret, **prefer(f"count={how}")})
    first, _, total = response.headers["content-range"].partition("/")
    assert first == "0-1"
    assert int(total) >= 2
    if database.name == "sqlite":
        assert (total, statements.count) == ("7", 2)
    else:
        assert any(text.startswith("EXPLAIN") for text in statements.texts)
        assert statements.count == (2 if how == "planned" else 3)


@pytest.mark.parametrize("how", ["planned", "estimated"])
async def test_those_who_do_not_see_all_rows_get_no_guess(
    client: httpx2.AsyncClient, tags: list[int], statements: Statements, how: str
) -> None:
    """A guess comes from statistics of rows that the caller may not see."""
    statements.clear()
    response = await client.get("/tags?limit=2", headers=prefer(f"count={how}"))
    assert response.headers["content-range"] == "0-1/7"
    assert not any(text.startswith("EXPLAIN") for text in statements.texts)


async def test_estimated_count_of_few_rows_is_exact(
    settings: Settings, database: Database, client: httpx2.AsyncClient, tags: list[int]
) -> None:
    """The guess for a table that was never analysed is some hundreds of rows, so the page must be as long."""
    async with database.writer.connect() as connection:
        await connection.exec_driver_sql("ANALYZE")
        await connection.commit()
    async with client_as(SERVICE, settings, database) as client:
        response = await client.get(f"{REST}/tags?name=neq.x", headers=prefer("count=estimated"))
    assert response.headers["content-range"] == "0-6/7"


def test_guess_of_a_parallel_plan_counts_all_workers() -> None:
    scan = {"Node Type": "Seq Scan", "Plan Rows": 1000}
    partial = {"Node Type": "Aggregate", "Plan Rows": 1, "Plans": [scan]}
    gather = {"Node Type": "Gather", "Plan Rows": 2, "Workers Planned": 2, "Plans": [partial]}
    assert planned_rows({"Node Type": "Aggregate", "Plan Rows": 1, "Plans": [gather]}) == 2400
    assert planned_rows({"Node Type": "Aggregate", "Plan Rows": 1, "Plans": [scan]}) == 1000


# ---- the header Range -----------------------------------------------------------------------------------------------

RANGES = [
    # header, query, content range
    ("0-1", "", "0-1/*"),
    ("2-4", "", "2-4/*"),
    ("5-", "", "5-6/*"),
    ("0-100", "", "0-6/*"),
    ("2-6", "limit=3", "2-2/*"),
    ("0-3", "offset=2", "2-3/*"),
    ("1-9", "offset=2&limit=2", "2-3/*"),
    ("0-1", "limit=0", "*/*"),
    ("bytes=0-1", "", "0-6/*"),
    ("items 0-1", "", "0-6/*"),
    ("-2", "", "0-6/*"),
    ("1-x", "", "0-6/*"),
]


@SURFACES
@pytest.mark.parametrize(("given", "query", "content_range"), RANGES, ids=[f"{r[0]} {r[1]}" for r in RANGES])
async def test_range_header(
    client: httpx2.AsyncClient, tags: list[int], prefix: str, given: str, query: str, content_range: str
) -> None:
    response = await client.get(f"{prefix}/tags?order=id&{query}", headers={"range": given, "range-unit": "items"})
    assert (response.status_code, response.headers["content-range"]) == (200, content_range)
    first = content_range.partition("-")[0]
    assert [row["id"] for row in response.json()][:1] == ([] if first == "*/*" else [tags[int(first)]])


@pytest.mark.parametrize(("given", "query"), [("3-1", ""), ("5-9", "limit=2"), ("0-1", "offset=5")])
async def test_range_that_holds_nothing_is_refused(
    client: httpx2.AsyncClient, tags: list[int], given: str, query: str
) -> None:
    response = await client.get(f"/tags?{query}", headers={"range": given})
    assert (response.status_code, response.json()["code"]) == (416, "PGRST103")
    if not query:
        lower = "The lower boundary must be lower than or equal to the upper boundary in the Range header."
        assert response.json()["details"] == lower


async def test_range_is_for_get_alone(client: httpx2.AsyncClient, tags: list[int], secret: Headers) -> None:
    response = await client.head("/tags", headers={"range": "0-1", **prefer("count=exact")})
    assert response.headers["content-range"] == "0-6/7"
    headers = {**secret, "range": "0-0"}
    response = await client.patch("/tags?id=gt.0&select=id", json={"name": None}, headers=headers)
    assert response.json()["code"] == "23502"
    response = await client.delete("/tags?id=gt.0", headers={**headers, **prefer("count=exact")})
    assert response.headers["content-range"] == "*/7"


async def test_counted_range(client: httpx2.AsyncClient, tags: list[int]) -> None:
    response = await client.get("/tags", headers={"range": "0-2", **prefer("count=exact")})
    assert (response.status_code, response.headers["content-range"]) == (206, "0-2/7")


# ---- headers of reads -----------------------------------------------------------------------------------------------


@SURFACES
async def test_content_location_has_the_parameters_sorted(
    client: httpx2.AsyncClient, tags: list[int], prefix: str
) -> None:
    response = await client.get(f"{prefix}/tags?order=name&name=like.t*&limit=2")
    assert response.headers["content-location"] == "/tags?limit=2&name=like.t*&order=name"
    assert (await client.get(f"{prefix}/tags")).headers["content-location"] == "/tags"
    odd = await client.get(f'{prefix}/tags?name=eq."%0d%0aX-Evil: 1"é>')
    assert "\r" not in odd.headers["content-location"]
    assert "x-evil" not in odd.headers


async def test_head_of_the_dialect_has_no_length(client: httpx2.AsyncClient, tags: list[int]) -> None:
    response = await client.head(f"{REST}/tags")
    assert "content-length" not in response.headers
    assert response.headers["content-range"] == "0-6/*"
    assert response.headers["vary"].startswith("Accept, Prefer, Range")
