"""Connections: crowds of them, bad HTTP, several requests on one, and their end when the server stops."""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from ipaddress import ip_network
from typing import Any

import pytest

from app.http.armour import ConnectionLimits, capacity, peer_of
from app.http.protocol import TOLD
from tests.http.serving import CHUNKED, GET, POST, SOON, Running, Site, assert_refused, serving, until


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture(scope="module")
async def usual() -> AsyncGenerator[Running]:
    """The usual limits, and all doors open. It says nothing in the logs of other tests."""
    async with serving(Site().app) as running:
        running.server.guard.reported = running.server.guard.report_seconds = 1e9
        yield running


@pytest.fixture
def faults(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING)
    return caplog


# ---- crowds ---------------------------------------------------------------------------------------------------------


async def test_connection_too_many_is_told_so(site: Site) -> None:
    async with serving(site.app, connections=2) as running, running.client(GET) as first:
        assert (await first.answer()).status == 200
        async with running.client(GET) as second:
            assert (await second.answer()).status == 200
            await assert_refused(running, GET, 503, "BRD503")
            async with running.client() as third:
                assert (await third.answer()).headers["retry-after"] == "5"
        await running.has(connections=1)
        async with running.client(GET) as fourth:
            assert (await fourth.answer()).status == 200


async def test_crowd_is_cut_off(site: Site) -> None:
    async with serving(site.app, connections=1, linger_seconds=60) as running, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(running.client()) for _ in range(100)]
        ends = [await client.closed() for client in clients[1:]]
        assert sum(end.startswith(b"HTTP/1.1 503 ") for end in ends) == TOLD
        assert len(running.server.server_state.connections) == 1 + TOLD


async def test_one_peer_may_not_take_all_connections(site: Site) -> None:
    async with (
        serving(site.app, of_one_peer=1, uncounted=()) as running,
        running.client(GET) as first,
    ):
        assert (await first.answer()).status == 200
        await assert_refused(running, GET, 503, "BRD503")
        first.writer.transport.abort()
        await running.has(connections=0)
        async with running.client(GET) as second:
            assert (await second.answer()).status == 200


async def test_own_machine_is_not_counted(site: Site) -> None:
    async with (
        serving(site.app, of_one_peer=1) as running,
        running.client(GET) as first,
        running.client(GET) as second,
    ):
        assert [(await client.answer()).status for client in (first, second)] == [200, 200]


@pytest.mark.parametrize(
    ("host", "peer"),
    [
        ("127.0.0.9", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("10.1.2.3", None),
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    ],
)
def test_peers_are_counted_by_what_one_client_has(host: str, peer: str | None) -> None:
    uncounted = [ip_network(text) for text in (*ConnectionLimits().uncounted, "10.0.0.0/8")]
    assert peer_of(host, uncounted) == peer


def test_descriptors_bound_the_connections() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = []
    try:
        for soft in (100, 500, min(5000, before[1])):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
            found.append(capacity(ConnectionLimits()))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert found == [50, 400, 1000]


# ---- HTTP -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"BREW-COFFEE / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\x00b\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        CHUNKED + b"zz\r\n",
        b"POST / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc",
    ],
)
async def test_bad_http_is_refused_in_json(usual: Running, sent: bytes) -> None:
    await assert_refused(usual, sent, 400, "BRD400")


async def test_bad_http_is_refused_after_the_answers_before_it(site: Site) -> None:
    site.opened.clear()
    async with serving(site.app) as running, running.client(b"GET /door HTTP/1.1\r\n\r\n") as client:
        await site.entered.wait()
        await client.send(GET + b"nonsense\r\n\r\n")
        site.opened.set()
        answers = [await client.answer() for _ in range(3)]
        assert [(answer.status, answer.body[:6]) for answer in answers[:2]] == [(200, b"opened"), (200, b"hello")]
        assert answers[2].status == 400
        assert await client.closed() == b""


async def test_pipelined_requests_are_answered_in_their_order(usual: Running) -> None:
    numbers = range(100)
    sent = b"".join(b"GET /?%d HTTP/1.1\r\n\r\n" % number for number in numbers)
    async with usual.client(sent) as client:
        assert [int((await client.answer()).body) for _ in numbers] == list(numbers)


async def test_pipeline_has_an_end(usual: Running) -> None:
    async with usual.client(GET * 200) as client:
        statuses = [(await client.answer()).status for _ in range(102)]
        assert await client.closed() == b""
    assert statuses == [200] * 101 + [400]


async def test_upgrade_is_answered_as_if_it_were_none(site: Site, faults: pytest.LogCaptureFixture) -> None:
    sent = b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    async with serving(site.app) as running, running.client(sent + GET) as client:
        assert (await client.answer()).body == b"hello"
        assert await client.closed() == b""
    assert faults.records == []


class Other(asyncio.Protocol):
    """Another protocol on the same connection."""

    def __init__(self, **given: object) -> None:
        pass

    def connection_made(self, transport: Any) -> None:
        self.write = transport.write

    def data_received(self, data: bytes) -> None:
        self.write(data[:3])


async def test_websocket_protocol_takes_its_connection_over(site: Site) -> None:
    sent = b"GET /chat HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    async with serving(site.app, ws=Other, head_seconds=0.1, uncounted=()) as running, running.client(sent) as client:
        assert await client.reader.readexactly(3) == b"GET"
        await asyncio.sleep(0.3)  # nothing is to happen
        await client.send(b"abc")
        assert await client.reader.readexactly(3) == b"abc"
        assert running.server.guard.peers == {}


async def test_refusals_share_a_line_in_the_log(site: Site, faults: pytest.LogCaptureFixture) -> None:
    refusal = "the request is not valid HTTP"
    async with serving(site.app) as running:
        await assert_refused(running, b"nonsense\r\n\r\n", 400, "BRD400")
        await until(lambda: bool(faults.records))
        for _ in range(20):
            await assert_refused(running, b"nonsense\r\n\r\n", 400, "BRD400")
        await asyncio.sleep(0.1)  # the sweep has nothing to say
    assert [vars(record)["refused"] for record in faults.records] == [{refusal: 1}, {refusal: 20}]


# ---- the stop -------------------------------------------------------------------------------------------------------


async def test_stop_does_not_wait_for_halves(site: Site, faults: pytest.LogCaptureFixture) -> None:
    async with (
        serving(site.app, linger_seconds=60) as running,
        running.client(b"GET / HTTP/1.1\r\n") as head,
        running.client(POST % 10 + b"half") as body,
        running.client(GET) as resting,
    ):
        await resting.answer()
        await site.entered.wait()
        assert await running.stop() < 4
        answer = await body.answer()
        assert (answer.status, answer.json()["code"], answer.headers["retry-after"]) == (503, "BRD503", "5")
        for client in (head, body, resting):
            assert await client.closed() == b""
    assert faults.records == []


@pytest.mark.parametrize("behind", [b"", b"GET / HTTP/1.1\r\n", POST % 10 + b"half"])
async def test_stop_waits_for_complete_requests(site: Site, behind: bytes) -> None:
    site.opened.clear()
    sent = b"GET /door HTTP/1.1\r\n\r\n" + behind
    async with serving(site.app, linger_seconds=60) as running, running.client(sent) as client:
        await site.entered.wait()
        stopping = asyncio.create_task(running.stop())
        await until(lambda: running.server.guard.stopping)
        site.opened.set()
        assert (await client.answer()).body == b"opened"
        assert await stopping < 4
        rest = await client.closed()
        assert rest == b"" or rest.startswith(b"HTTP/1.1 503 ")


async def test_stop_gives_up_those_that_never_end(site: Site, faults: pytest.LogCaptureFixture) -> None:
    """Takes the second that is given to them."""
    site.opened.clear()
    async with serving(site.app, grace=1) as running, running.client(b"GET /door HTTP/1.1\r\n\r\n") as client:
        await site.entered.wait()
        async with asyncio.timeout(SOON):
            await running.stop()
        assert (await client.answer()).status == 503
    assert [record.name for record in faults.records] == ["uvicorn.error"]  # how many were cancelled
    assert all(record.exc_info is None for record in faults.records)
