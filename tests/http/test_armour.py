"""Heads and bodies that are too large or too slow, and answers that nobody reads.

The limits are those of `broadsheet serve`, with shorter times.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator

import pytest

from app.http.protocol import Connection, Phase
from tests.http.serving import CHUNKED, GET, POST, Running, Site, assert_refused, serving, until

KIB = 1024


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


# ---- heads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nX: " + b"a" * 100 * KIB,
        b"GET / HTTP/1.1\r\nX: " + b" " * 100 * KIB,
        b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 20 * KIB,
        b"GET /" + b"a" * 100 * KIB,
        b"GET / HTTP/1.1\r\nX: " + b"a" * 33 * KIB + b"\r\n\r\n",
        b"\r\n" * 50 * KIB,
    ],
    ids=["value", "spaces", "number", "url", "complete", "empty lines"],
)
async def test_large_head_is_refused(usual: Running, head: bytes) -> None:
    await assert_refused(usual, head, 431, "BRD431")


async def test_head_is_counted_across_packets(usual: Running) -> None:
    async with usual.client(b"GET / HTTP/1.1\r\n") as client:
        for _ in range(KIB):
            await client.send(b"X: " + b"a" * 95 + b"\r\n")
        assert (await client.answer()).status == 431


async def test_head_below_the_limit_is_taken(usual: Running) -> None:
    head = b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (32 * KIB - 100) + b"\r\n\r\n"
    async with usual.client(head + head) as client:
        assert [(await client.answer()).status for _ in range(2)] == [200, 200]


async def test_head_is_not_charged_for_the_request_before_it(usual: Running) -> None:
    before = b"GET / HTTP/1.1\r\nX: " + b"a" * 15 * KIB + b"\r\n\r\n"
    async with usual.client(before + b"GET / HTTP/1.1\r\nX: ") as client:
        for _ in range(30):
            await client.send(b"a" * KIB)
            await asyncio.sleep(0.001)  # in packets of its own
        await client.send(b"\r\n\r\n")
        assert [(await client.answer()).status for _ in range(2)] == [200, 200]


async def test_large_head_behind_another_request_is_refused_after_its_answer(usual: Running) -> None:
    large = b"GET / HTTP/1.1\r\nX: " + b"a" * 50 * KIB + b"\r\n\r\n"
    async with usual.client(GET + large) as client:
        assert [(await client.answer()).status for _ in range(2)] == [200, 431]


@pytest.mark.parametrize(
    "rest",
    [
        b"1;" + b"a" * 100 * KIB,
        b"".join(b"1;" + b"a" * KIB + b"\r\nx\r\n" for _ in range(100)),
        b"1\r\nx\r\n0\r\nTrailing: " + b"a" * 100 * KIB,
    ],
    ids=["extension", "extensions", "trailer"],
)
async def test_framing_of_a_body_is_no_way_around_the_limit(usual: Running, rest: bytes) -> None:
    await assert_refused(usual, CHUNKED + rest, 431, "BRD431")


async def test_small_chunks_are_no_attack(usual: Running) -> None:
    async with usual.client(CHUNKED) as client:
        await client.send(b"1\r\nx\r\n" * 50 * KIB + b"0\r\n\r\n")
        assert (await client.answer()).body == b"51200 None"


async def test_trailers_are_no_headers(site: Site) -> None:
    async with serving(site.app) as running, running.client(CHUNKED) as client:
        site.opened.clear()
        await client.send(b"1\r\nx\r\n0\r\nTrailing: yes\r\n\r\n")
        await site.entered.wait()
        site.opened.set()
        assert (await client.answer()).body == b"1 None"


@pytest.mark.parametrize("sent", [b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n", b"\r\n", GET + b"GET"])
async def test_half_a_head_is_refused_in_time(site: Site, sent: bytes) -> None:
    async with serving(site.app, head_seconds=0.1) as running, running.client(sent) as client:
        if sent.startswith(GET):
            assert (await client.answer()).status == 200
        answer = await client.answer()
        assert (answer.status, answer.json()["code"]) == (408, "BRD408")
        assert await client.closed() == b""


async def test_dripping_head_gets_no_more_time(site: Site) -> None:
    async with (
        serving(site.app, head_seconds=0.1) as running,
        running.client() as client,
        client.dripping(b"GET / HTTP/1.1\r\nX: " + b"a" * 1000, 0.01),
    ):
        assert (await client.answer()).status == 408


async def test_connection_that_says_nothing_is_closed(site: Site) -> None:
    async with serving(site.app, head_seconds=0.1) as running, running.client() as client:
        assert await client.closed() == b""


async def test_first_head_is_counted_from_the_opening(site: Site) -> None:
    async with serving(site.app) as running, running.client() as client:
        await until(lambda: len(running.server.guard.watched) == 1)
        (connection,) = running.server.guard.watched
        assert isinstance(connection, Connection)
        opened = connection.since
        await client.send(b"GET / ")
        await until(lambda: connection.phase is Phase.HEAD)
        assert connection.since == opened


async def test_refused_connection_does_not_stay(site: Site) -> None:
    async with serving(site.app) as running, running.client(b"GET / HTTP/1.1\r\nX: " + b"a" * 100 * KIB) as client:
        assert (await client.answer()).status == 431
        await running.has(connections=0)


async def test_client_that_sends_all_before_it_reads_learns_why_it_is_refused(usual: Running) -> None:
    async with usual.client() as client:
        await client.send(b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000 * KIB)
        assert (await client.answer()).status == 431


async def test_kept_connection_may_rest(site: Site) -> None:
    async with serving(site.app, head_seconds=0.1) as running, running.client(GET) as client:
        await client.answer()
        await asyncio.sleep(0.3)  # nothing is to happen
        await client.send(GET)
        assert (await client.answer()).status == 200


async def test_rest_is_counted_from_the_answer(site: Site) -> None:
    site.opened.clear()
    sent = b"GET /door HTTP/1.1\r\n\r\n"
    async with serving(site.app, timeout_keep_alive=0.3) as running, running.client(sent) as client:
        await asyncio.sleep(0.5)
        site.opened.set()
        await client.answer()
        await asyncio.sleep(0.1)  # nothing is to happen
        await client.send(GET)
        assert (await client.answer()).status == 200


async def test_rest_is_counted_from_the_end_of_a_body_after_its_answer(site: Site) -> None:
    head = b"POST /early HTTP/1.1\r\nContent-Length: 1\r\n\r\n"
    async with serving(site.app, timeout_keep_alive=0.3) as running, running.client(head) as client:
        await client.answer()
        await asyncio.sleep(0.5)
        await client.send(b"x")
        await asyncio.sleep(0.1)  # nothing is to happen
        await client.send(GET)
        assert (await client.answer()).status == 200


async def test_connection_that_rests_is_closed(site: Site) -> None:
    async with serving(site.app, timeout_keep_alive=0.1) as running, running.client(GET) as client:
        await client.answer()
        assert await client.closed() == b""


# ---- bodies ---------------------------------------------------------------------------------------------------------


async def test_late_body_is_refused_and_the_application_told(site: Site, faults: pytest.LogCaptureFixture) -> None:
    async with serving(site.app, body_seconds=0.1) as running:
        await assert_refused(running, POST % 10 + b"half", 408, "BRD408")
        assert running.server.server_state.tasks == set()
    assert [record.getMessage() for record in faults.records] == ["connections refused"]


async def test_body_that_makes_progress_is_not_late(site: Site) -> None:
    async with (
        serving(site.app, body_seconds=0.2, rate=2) as running,
        running.client(POST % 30) as client,
        client.dripping(b"x" * 30, 0.02),
    ):
        assert (await client.answer()).body == b"30 None"


async def test_body_with_too_little_progress_is_late(site: Site) -> None:
    async with (
        serving(site.app, body_seconds=0.1, rate=1000) as running,
        running.client(POST % 1000) as client,
        client.dripping(b"x" * 1000, 0.02),
    ):
        assert (await client.answer()).status == 408


@pytest.mark.parametrize("expects", [False, True])
async def test_body_that_nobody_reads_is_not_late(site: Site, expects: bool) -> None:
    """The client is stopped by a full window, or waits to be asked for its body."""
    size = 0 if expects else 1000 * KIB
    head = POST % (size or 1)
    site.opened.clear()
    async with serving(site.app, body_seconds=0.5, rate=10**9) as running, running.client() as client:
        await client.send(head.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n") if expects else head)
        sending = asyncio.create_task(client.send(bytes(max(size - 1, 0))))
        await asyncio.sleep(0.9)  # nothing is to happen
        site.opened.set()
        if expects:
            assert (await client.answer()).status == 100
        await sending
        await asyncio.sleep(0.1)  # nor now: its time begins again
        await client.send(b"x")
        assert (await client.answer()).status == 200


async def test_rest_of_a_body_that_is_answered_already_is_not_waited_for_long(site: Site) -> None:
    head = b"POST /early HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n"
    async with serving(site.app, body_seconds=0.1, rate=1) as running, running.client(head) as client:
        assert (await client.answer()).status == 200
        async with client.dripping(bytes(1000), 0.01):
            assert await client.closed() == b""


async def test_connection_may_not_rest_for_longer_after_a_late_rest_of_a_body(site: Site) -> None:
    head = b"POST /early HTTP/1.1\r\nContent-Length: 1\r\n\r\n"
    async with serving(site.app, timeout_keep_alive=0.1) as running, running.client(head) as client:
        assert (await client.answer()).status == 200
        await client.send(b"x")
        assert await client.closed() == b""


# ---- answers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"], ids=["kept", "closing"])
async def test_client_that_never_reads_is_cut_off(site: Site, more: bytes, faults: pytest.LogCaptureFixture) -> None:
    sent = b"GET /large?50000000 HTTP/1.1\r\n" + more + b"\r\n"
    async with serving(site.app, write_seconds=0.2) as running, running.client(sent, receives=1000) as client:
        await client.reader.readuntil(b"\r\n\r\n")
        await running.has(connections=0)
    assert [vars(record)["refused"] for record in faults.records] == [{"the answer was not read": 1}]


async def test_answer_in_the_servers_own_buffer_does_not_keep_a_connection(site: Site) -> None:
    """Small enough not to stop the application, and too large for the buffers of the system."""
    sent = b"GET /large?50000 HTTP/1.1\r\nConnection: close\r\n\r\n"
    async with serving(site.app, write_seconds=0.2, buffer=4096) as running, running.client(sent, receives=1000):
        await site.entered.wait()
        assert running.server.server_state.connections
        await running.has(connections=0)


async def test_client_may_take_its_time_again_for_each_answer(site: Site) -> None:
    sent = b"GET /large?20000000 HTTP/1.1\r\n\r\n"
    async with serving(site.app, write_seconds=0.5, rate=10**9) as running, running.client() as client:
        for _ in range(2):
            await client.send(sent)
            await asyncio.sleep(0.1)  # for the sweep to see that it does not read
            assert (await client.answer()).status == 200
            await asyncio.sleep(0.6)


async def test_client_that_reads_slowly_gets_its_answer(site: Site) -> None:
    sent = b"GET /large?20000000 HTTP/1.1\r\nConnection: close\r\n\r\n"
    async with serving(site.app, write_seconds=0.1, rate=1_000_000) as running, running.client(sent) as client:
        read = 0
        while part := await client.reader.read(200_000):
            read += len(part)
            await asyncio.sleep(0.005)
    assert read > 20_000_000
