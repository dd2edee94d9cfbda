"""Hostile clients against a server in a process of its own, on the event loop that it has in earnest."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from app.accounts.keys import load_keys
from tests.cli.test_program import environment, free_port, program

HEAD_SECONDS, OTHER_SECONDS = 2, 3
LIMITS = {"head_seconds": HEAD_SECONDS, "body_seconds": OTHER_SECONDS, "write_seconds": OTHER_SECONDS}
SLACK = 4  # seconds: two of the sweep, two for a client to read why
MIB = 1024 * 1024
AT_MOST = 30  # seconds for all of it, should the server bear with them for ever
STARTED = 20  # seconds that a start may take on a busy machine
STOPPED = 5  # seconds that a stop may; half a second on an idle one, 25 and more where it waits for somebody


@dataclass(frozen=True, slots=True)
class Program:
    process: subprocess.Popen[bytes]
    folder: Path
    port: int

    def memory(self) -> int:
        """Bytes, the most that it ever had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def log(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]

    def stop(self) -> float:
        """The seconds from the signal to the end."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(STARTED)
        return time.monotonic() - begun


@pytest.fixture
def hostage(tmp_path: Path) -> Generator[Program]:
    data = tmp_path / "data"
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-W", "error", "-m", "tests.http.serving", str(data), json.dumps(LIMITS)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
    assert process.stdout is not None
    try:
        yield Program(process, tmp_path, int(process.stdout.readline()))
    finally:
        process.kill()
        process.communicate()


# ---- the clients: each returns the seconds that it was borne with ---------------------------------------------------


@asynccontextmanager
async def connected(port: int) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def drip(port: int, sent: bytes) -> float:
    """Sends `sent`, then a byte now and then, until the server has had enough of it."""
    async with connected(port) as (reader, writer):
        begun = time.monotonic()
        writer.write(sent)
        status = asyncio.create_task(reader.readuntil(b"\r\n"))
        while not status.done():
            writer.write(b"a")
            await asyncio.wait([status], timeout=0.5)
        assert status.result().startswith(b"HTTP/1.1 408 ")
        return time.monotonic() - begun


async def flood(port: int, sent: bytes, piece: bytes, times: int) -> bytes:
    """The status line of the answer to what is sent as fast as it is taken."""
    async with connected(port) as (reader, writer):
        status = asyncio.create_task(reader.readuntil(b"\r\n"))
        writer.write(sent)
        try:
            for _ in range(times):
                writer.write(piece)
                await writer.drain()
        except ConnectionError:
            pass  # the server need not listen to the end
        return await status


async def never_read(port: int) -> float:
    """Asks for megabytes and takes no more than the buffers do."""
    async with connected(port) as (_, writer):
        begun = time.monotonic()
        writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        while not writer.transport.is_closing():
            writer.write(b"\r\n")  # how a client that reads nothing learns that nobody is there
            await asyncio.sleep(0.2)
        return time.monotonic() - begun


async def ask(port: int, until: asyncio.Event) -> list[float]:
    """A client like any other. The seconds that each of its requests took."""
    spent = []
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=STARTED) as client:
        while not until.is_set():
            for path in ("/health/live", "/tags"):
                begun = time.monotonic()
                assert (await client.get(path)).status_code == 200
                spent.append(time.monotonic() - begun)
            await asyncio.sleep(0.05)
    return spent


# ---- what they achieve ----------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_hostile_clients_harm_nobody_else(hostage: Program) -> None:
    """Takes the seconds that slow clients are borne with, about five: many of each kind at once, 365 in all."""
    port, secret = hostage.port, load_keys(hostage.folder / "data").secret
    post = f"POST /tags HTTP/1.1\r\nHost: x\r\napikey: {secret}\r\n"
    before = hostage.memory()
    over = asyncio.Event()
    normal = asyncio.create_task(ask(port, over))
    head = asyncio.gather(*(drip(port, b"GET /tags HTTP/1.1\r\nX: ") for _ in range(300)))
    body = asyncio.gather(*(drip(port, f'{post}Content-Length: 999\r\n\r\n{{"name":"'.encode()) for _ in range(60)))
    deaf = asyncio.gather(*(never_read(port) for _ in range(3)))
    large = flood(port, b"GET /tags HTTP/1.1\r\nX: ", b"a" * MIB, 40)
    chunk = b"%x\r\n%b\r\n" % (MIB, bytes(MIB))
    chunked = flood(port, f"{post}Transfer-Encoding: chunked\r\n\r\n".encode(), chunk, 50)
    async with asyncio.timeout(AT_MOST):
        statuses = await asyncio.gather(large, chunked)
        assert [status.split()[1] for status in statuses] == [b"431", b"413"]
        assert max(await head) < HEAD_SECONDS + SLACK
        assert max(await body) < OTHER_SECONDS + SLACK
        assert max(await deaf) < OTHER_SECONDS + SLACK
    over.set()
    spent = sorted(await normal)
    assert len(spent) > 20
    assert spent[len(spent) * 9 // 10] < HEAD_SECONDS
    assert hostage.memory() - before < 100 * MIB
    assert hostage.stop() < STOPPED
    lines = hostage.log()
    assert not [line for line in lines if "traceback" in line or line["level"] == "error"]
    assert 1 <= len([line for line in lines if line["logger"] == "broadsheet.server"]) <= 4


def test_program_stops_at_once_though_halves_are_open(tmp_path: Path) -> None:
    """On `broadsheet serve` itself."""
    settings = environment(tmp_path, BROADSHEET_PORT=str(port := free_port()))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(program("serve"), env=settings, stdout=subprocess.PIPE, stderr=log)
    assert process.stdout is not None
    try:
        next(line for line in process.stdout if b"make demo" in line)
        running = Program(process, tmp_path, port)
        asyncio.run(hold_halves(running))
        assert process.returncode == 0
        assert not [line for line in running.log() if "traceback" in line or line["level"] == "error"]
    finally:
        process.kill()
        process.communicate()


async def hold_halves(running: Program) -> None:
    secret = load_keys(running.folder / "data").secret
    body = f"POST /tags HTTP/1.1\r\nHost: x\r\napikey: {secret}\r\nContent-Length: 99\r\n\r\n{{".encode()
    pairs = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(20)]
    for number, (_, writer) in enumerate(pairs):
        writer.write(body if number % 2 else body[:30])
    async with httpx2.AsyncClient() as client:  # the halves have been taken up when another request is answered
        assert (await client.get(f"http://127.0.0.1:{running.port}/health/live")).status_code == 200
    assert await asyncio.to_thread(running.stop) < STOPPED
    for number, (reader, writer) in enumerate(pairs):
        assert (await reader.read()).startswith(b"HTTP/1.1 503 " if number % 2 else b"")
        writer.transport.abort()
    await asyncio.sleep(0)
