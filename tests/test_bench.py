"""The parts of the benchmarks that need no server: rows, requests, figures, goals, page and chart. That the whole works
is what `make bench-quick` shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any
from xml.etree import ElementTree

import pytest

from app.accounts import passwords
from app.models import Base
from bench import agreement, audit, chart, dialects, figures, goals, importing, loads, report, table
from bench.client import Measured, Order, measure, percentile
from bench.data import FULL, PASSWORD, PASSWORD_HASH, POOR, SMALL, Rows, Sizes
from bench.figures import Round, Row
from bench.variants import VARIANTS

TINY = Sizes(users=120, posts=40, tags=12)
ROOT = Path(__file__).resolve().parent.parent


def measured(load: str, variant: str, *rates: float, database: str = "postgresql") -> Row:
    return Row(database, load, variant, [Round(rate, 1000 / rate, 2000 / rate, 1e6 / rate) for rate in rates])


# ---- rows -----------------------------------------------------------------------------------------------------------


def test_rows_are_the_same_each_time_they_are_made() -> None:
    one, other = Rows(TINY), Rows(TINY)
    assert list(one.links()) == list(other.links())  # in another order, because each has a generator of its own
    assert list(one.users()) == list(other.users())
    assert list(one.posts()) == list(other.posts()) == list(one.posts())


def test_full_data_have_the_promised_sizes() -> None:
    rows = Rows(FULL)
    assert sum(1 for _ in rows.users()) == 5_000
    assert sum(1 for _ in rows.tags()) == 500
    assert abs(sum(1 for _ in rows.links()) - 300_000) < 3_000


def test_posts_are_of_about_a_thousand_characters_with_slugs_of_their_own() -> None:
    posts = list(Rows(SMALL).posts())
    assert 950 < sum(len(post["content"]) for post in posts) / len(posts) < 1150
    assert 40 < sum(len(post["title"]) for post in posts) / len(posts) < 60
    assert len({post["slug"] for post in posts}) == len(posts)
    assert [post["published_at"] for post in posts] == sorted(post["published_at"] for post in posts)


def test_rows_fit_the_tables() -> None:
    rows = Rows(TINY)
    made = {"users": rows.users(), "credentials": rows.credentials(), "tags": rows.tags(), "posts": rows.posts()}
    for name, some in {**made, "post_tags": rows.links(), "transfers": rows.grants()}.items():
        table = Base.metadata.tables[name]
        given = next(iter(some)).keys()
        needed = {column.name for column in table.columns if not column.nullable}
        assert needed <= given <= set(table.columns.keys())


def test_every_balance_is_what_was_granted() -> None:
    rows = Rows(TINY)
    assert {row["to_user_id"]: row["amount"] for row in rows.grants()} == {u["id"]: u["balance"] for u in rows.users()}
    assert POOR == loads.POOR


async def test_password_of_the_users_is_right_and_hashed_as_the_service_hashes() -> None:
    assert await passwords.verify(PASSWORD, PASSWORD_HASH)
    assert not passwords.needs_rehash(PASSWORD_HASH)


# ---- requests -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("load", loads.LOADS)
def test_every_variant_gets_the_same_draws_within_the_rows(load: str) -> None:
    draw = loads.LOADS[load].draw
    drawn = [draw(chance, TINY) for chance in [Random(1)] for _ in range(50)]
    assert drawn == [draw(chance, TINY) for chance in [Random(1)] for _ in range(50)]
    asked = {name: dialects.requests_of(name, load) for name in dialects.DIALECTS}
    assert asked["broadsheet"] is not None
    for ask in filter(None, asked.values()):
        assert all(isinstance(dialects.render(ask(one), {}), bytes) for one in drawn)


def test_a_transfer_is_between_two_accounts_of_the_load() -> None:
    last = TINY.users - loads.POOR
    for name, allowed in (("transfer", range(2, last + 1)), ("transfer-low", range(last + 1, TINY.users + 1))):
        for sender, receiver, amount in _drawn(name):
            assert sender != receiver
            assert {sender, receiver} <= set(allowed)
            assert amount > 0
    assert all((sender == loads.HOT) != (receiver == loads.HOT) for sender, receiver, _ in _drawn("transfer-hot"))


def _drawn(load: str) -> Iterator[loads.Draw]:
    chance = Random(3)
    return (loads.LOADS[load].draw(chance, TINY) for _ in range(200))


def test_titles_of_new_posts_never_come_twice() -> None:
    ask = dialects.requests_of("broadsheet", "create")
    assert ask is not None
    assert len({ask(draw).body["title"] for draw in _drawn("create")}) == 200


def test_a_request_is_rendered_as_http_says() -> None:
    request = dialects.Request("POST", "/posts", {"a": 1}, (("prefer", "x"),))
    head, _, body = dialects.render(request, {"apikey": "k"}).partition(b"\r\n\r\n")
    assert head.splitlines()[0] == b"POST /posts HTTP/1.1"
    assert b"apikey: k\r\n" in head
    assert b"content-length: %d" % len(body) in head
    assert json.loads(body) == {"a": 1}


def test_every_variant_can_do_a_load_and_every_peer_is_there() -> None:
    for name, variant in VARIANTS.items():
        assert variant.loads is None or variant.loads <= {*loads.LOADS, importing.LOAD}, name
        if variant.module:
            assert (ROOT / "bench" / "peers" / f"{variant.module}.py").exists(), name


def test_import_file_names_users_and_tags_before_posts() -> None:
    kinds = [next(iter(json.loads(line))) for line in importing.lines(Rows(TINY))]
    assert kinds == ["broadsheet"] + ["user"] * 120 + ["tag"] * 12 + ["post"] * 40


# ---- the load generator ----------------------------------------------------------------------------------------------

WHOLE = [b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", b'{"ok": ', b"true}"]
CHUNKED = [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\ntr", b"ue\r\n", b"0\r\n\r\n"]
BROKEN = [b"HTTP/1.1 500 Oh\r\ncontent-length: 4\r\n\r\noops"]
LONG = [b"HTTP/1.1 200 OK\r\ncontent-length: 12000\r\n\r\n", b"x" * 12_000]
SOME = 5


async def answered(first: list[bytes], then: list[bytes], load: str = "empty") -> tuple[Measured, int]:
    """What the load generator says of a server that gives the first answer to SOME requests and the other one to all
    after them, and how often it was asked. An answer comes in pieces; one without any is an end.
    """
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                asked += 1
                pieces = first if asked <= SOME else then
                for piece in pieces:
                    writer.write(piece)
                    await asyncio.sleep(0)  # a turn of the loop: the pieces are sent one by one
                if not pieces:
                    break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        order = Order("peer", load, TINY, 1, [port], connections=2, seconds=0.2, warmup=0.0)
        return await asyncio.to_thread(measure, order), asked


@pytest.mark.parametrize("pieces", [WHOLE, CHUNKED], ids=["with a length", "in chunks"])
async def test_answers_in_pieces_are_each_counted_once(pieces: list[bytes]) -> None:
    said, asked = await answered(pieces, pieces)
    assert said.errors == 0
    assert said.answers == {"200": asked}
    assert asked - 2 <= said.requests <= asked  # two are on their way when the time is over
    assert 0 < said.p50_ms <= said.p99_ms


async def test_another_status_is_an_error_with_its_body() -> None:
    said, asked = await answered(BROKEN, WHOLE)
    assert said.errors == SOME
    assert said.first_error == "500 oops"
    assert said.answers == {"200": asked - SOME}


@pytest.mark.parametrize("pieces", [WHOLE, CHUNKED], ids=["with a length", "in chunks"])
async def test_an_answer_without_its_rows_is_an_error(pieces: list[bytes]) -> None:
    said, _ = await answered(pieces, LONG, "list-same")
    assert said.errors == SOME


async def test_a_connection_that_ends_is_an_error_and_replaced() -> None:
    said, asked = await answered([], WHOLE)
    assert said.first_error == "the connection was closed before the answer"
    assert said.errors == SOME < asked


# ---- comparing ------------------------------------------------------------------------------------------------------

ITEM: dict[str, Any] = {
    "id": 1,
    "title": "A",
    "content": "B",
    "status": "published",
    "created_at": "2024-01-01T00:05:00+00:00",
    "updated_at": "2024-01-01T00:05:00Z",
    "author": {"id": 2, "username": "ada", "full_name": None},
    "tags": [{"id": 4, "name": "d"}, {"id": 3, "name": "c"}],
}


def test_answers_that_say_the_same_in_another_way_are_equal() -> None:
    other = ITEM | {"created_at": "2024-01-01 00:05:00.000Z", "tags": ITEM["tags"][::-1], "extra": 1}
    assert dialects.normal(ITEM) == dialects.normal(other)
    assert agreement.difference([[dialects.normal(ITEM)]], [[dialects.normal(other)]]) == ""


@pytest.mark.parametrize(
    "change",
    [{"id": 2}, {"content": "C"}, {"updated_at": "2024-01-01T00:05:01Z"}, {"tags": ITEM["tags"][:1]}],
    ids=lambda change: next(iter(change)),
)
def test_an_answer_with_something_else_is_told(change: dict[str, Any]) -> None:
    assert agreement.difference([[dialects.normal(ITEM)]], [[dialects.normal(ITEM | change)]])
    assert agreement.difference([[dialects.normal(ITEM)]], [[]])


def test_rows_that_were_not_written_are_told() -> None:
    def query(statement: str) -> list[tuple[Any, ...]]:
        return [(13,)] if "FROM posts" in statement else [(30,)]

    before = {"posts": 10, "links": 21, "revisions": 27, "transfers": 30}
    assert audit.complaint(query, before, "create", "broadsheet", 3) == ""
    assert audit.complaint(query, before | {"revisions": 30}, "create", "broadsheet", 3) != ""
    assert audit.complaint(query, before | {"revisions": 30}, "create", "litestar", 3) == ""
    assert audit.complaint(query, before, "create", "litestar", 4) != ""


# ---- figures --------------------------------------------------------------------------------------------------------


def test_percentiles_are_of_what_was_measured() -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.99) == 4.0
    assert percentile([], 0.5) == 0.0


def test_ratio_is_taken_round_by_round() -> None:
    ours, theirs = measured("one", "broadsheet", 100, 300, 200), measured("one", "litestar", 50, 100, 50)
    assert figures.ratio(ours, theirs) == figures.Ratio(3.0, 2.0, 4.0)


def test_a_row_with_errors_is_compared_with_nothing() -> None:
    ours, theirs = measured("one", "broadsheet", 100), measured("one", "litestar", 50)
    theirs.rounds.append(Round.failed("it ended"))
    assert figures.ratio(ours, theirs) is None
    assert figures.ratio(ours, None) is None
    assert "it ended" in table.line(theirs)


def test_results_have_the_promised_form(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    figures.write(path, {"cores": 2}, [measured("one", "broadsheet", 100, 300, 200)])
    written = json.loads(path.read_text())
    assert written["machine"] == {"cores": 2}
    (row,) = written["rows"]
    promised = {"database", "load", "variant", "requests_per_second", "p50_ms", "p99_ms", "server_cpu_us"}
    assert promised <= row.keys()
    assert (row["database"], row["load"], row["variant"]) == ("postgresql", "one", "broadsheet")
    assert row["requests_per_second"] == 200
    assert row["p50_ms"] == 5


# ---- goals, page, chart ---------------------------------------------------------------------------------------------


def test_goals_name_loads_and_variants_that_exist() -> None:
    known = {*loads.LOADS, "import", "start", "memory"}
    for goal in goals.GOALS:
        for side in (goal.ours, goal.theirs):
            assert side.load in known, goal.name
            assert side.variant in VARIANTS, goal.name


@pytest.mark.parametrize(
    ("name", "load", "theirs", "rates"),
    [
        ("one post by random id", "one", 100, ((999, False), (1000, True))),
        ("time to the first answer", "start", 1, ((1.1, True), (0.9, False))),
    ],
)
def test_a_goal_is_met_from_its_ratio_on_and_a_time_up_to_it(name: str, load: str, theirs: float, rates: Any) -> None:
    goal = next(goal for goal in goals.GOALS if goal.name == name)
    peer = measured(load, "fastapi-async", theirs)
    for rate, met in rates:
        found = goal.reached([measured(load, "broadsheet", rate), peer])
        assert found is not None
        assert goal.is_met(found) is met
    assert goal.reached([peer]) is None


MACHINE: dict[str, Any] = {
    "at": "2026-01-02T03:04:05+00:00",
    "cpu": "A",
    "cores": 2,
    "memory_gib": 4,
    "system": "Linux",
}
MACHINE |= {"rounds": 1, "seconds": 2, "load_average": [0.1], "python": "3", "sqlite": "3", "postgresql": "18"}
MACHINE |= {"versions": {"fastapi": "0.1"}}


def test_page_keeps_its_prose_and_takes_new_figures() -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    rows = [measured("one", "broadsheet", 1000), measured("one", "fastapi-async", 100)]
    written = report.placed(page, report.figures(MACHINE, rows))
    assert written.partition(report.BEGIN)[0] == page.partition(report.BEGIN)[0]
    assert "| one post by random id | fastapi-async | 10 | 20 | 10.0 x [10.0..10.0] | met |" in written
    assert report.placed(written, "other") == report.placed(page, "other")


def test_page_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="marks"):
        report.placed("# Performance\n", "figures")


def test_page_names_every_load_and_every_variant() -> None:
    prose = (ROOT / "docs" / "performance.md").read_text().partition(report.BEGIN)[0]
    for name in (*loads.LOADS, "import", "start", "memory", *VARIANTS):
        assert name in prose


def test_failed_rows_stand_in_the_page_as_failed() -> None:
    failed = Row("sqlite", "one", "litestar", [Round.failed("500 Internal | Server Error\nmore")])
    page = report.figures(MACHINE, [measured("one", "broadsheet", 10, database="sqlite"), failed])
    assert "| litestar | failed: 500 Internal / Server Error |" in page


def test_chart_is_well_formed_and_has_a_bar_for_each_row() -> None:
    rows = [measured("one", name, rate) for name, rate in (("broadsheet", 200), ("litestar", 100), ("asyncpg", 400))]
    drawn = ElementTree.fromstring(chart.draw(rows))
    bars = [element for element in drawn.iter() if element.tag.endswith("rect")]
    assert [bar.get("class") for bar in bars] == ["ours", "peer", "bound"]
    widths = [float(bar.get("width") or 0) for bar in bars]
    assert widths[0] == pytest.approx(2 * widths[1], abs=0.2)
    assert max(widths) == widths[2]


def test_chart_without_rows_is_empty_but_well_formed() -> None:
    assert ElementTree.fromstring(chart.draw([])).tag.endswith("svg")
