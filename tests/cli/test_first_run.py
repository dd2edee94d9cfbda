"""The first start with nothing configured, closed to all but this machine and its owner; and what a start refuses."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from app.cli.main import main
from tests.cli.test_program import SECONDS, assert_refused, execute, free_port, iter_greeting, program
from tests.conftest import Server, fresh_database

GOOD = "5f0c1e9a7b3d4826f1a0c9e8d7b6a5948372615041f3e2d1"


@dataclass(frozen=True, slots=True)
class FirstRun:
    folder: Path
    port: int
    process: subprocess.Popen[str]
    printed: str

    @property
    def keys(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.folder / "keys.json").read_text())
        return found

    def get(self, path: str, **headers: str) -> httpx2.Response:
        return httpx2.get(f"http://127.0.0.1:{self.port}{path}", headers=headers, timeout=SECONDS)


@contextmanager
def started(folder: Path) -> Generator[FirstRun]:
    """With nothing in the environment but where programs are, where data go and a port that is free. The most generous
    umask: no mode may hang on it.
    """
    port = free_port()
    settings = {"PATH": os.environ["PATH"], "BROADSHEET_DATA_DIR": str(folder), "BROADSHEET_PORT": str(port)}
    pipe = subprocess.PIPE
    with subprocess.Popen(program("serve"), env=settings, stdout=pipe, stderr=pipe, text=True, umask=0) as process:
        try:
            yield FirstRun(folder, port, process, "".join(iter_greeting(process)))
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Generator[FirstRun]:
    with started(tmp_path_factory.mktemp("first") / "data") as run:
        yield run


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is no address of this machine")
def test_only_the_loopback_address_is_served(first: FirstRun) -> None:
    assert f"serves http://127.0.0.1:{first.port}" in first.printed
    assert first.get("/health/ready").status_code == 200
    for family, address in ((socket.AF_INET, "127.0.0.2"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as sock:
            assert sock.connect_ex((address, first.port)) != 0, address


def test_files_are_their_owners_alone(first: FirstRun) -> None:
    first.get("/posts")
    assert stat.S_IMODE(first.folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in first.folder.iterdir()}
    assert modes.keys() >= {"broadsheet.db", "broadsheet.db-wal", "keys.json", "secret.key"}
    assert modes == dict.fromkeys(modes, 0o600)


def test_secret_has_the_strength_of_a_key(first: FirstRun) -> None:
    """32 random bytes, in hexadecimal."""
    assert re.fullmatch(r"[0-9a-f]{64}", (first.folder / "secret.key").read_text().strip())


def test_there_is_no_account(first: FirstRun) -> None:
    answer = first.get("/users", apikey=first.keys["secret"], prefer="count=exact")
    assert (answer.status_code, answer.json()) == (200, [])


def test_without_a_key_nothing_is_written(first: FirstRun) -> None:
    for path, body in (("/tags", {"name": "mine"}), ("/posts", {"title": "Mine"})):
        refused = httpx2.post(f"http://127.0.0.1:{first.port}{path}", json=body, timeout=SECONDS)
        assert refused.status_code in (401, 403), path


def test_docs_ask_no_other_host(first: FirstRun) -> None:
    page = first.get("/docs")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert named
    assert not [name for name in named if re.match(r"(?!data:)[a-z]+:|//", name)]


def test_no_secret_is_printed(tmp_path: Path) -> None:
    """Neither at the start, nor for a request that brings the secret key, nor at the end."""
    with started(tmp_path / "data") as run:
        assert run.get("/users", apikey=run.keys["secret"]).status_code == 200
        run.process.send_signal(signal.SIGTERM)
        out, err = run.process.communicate(timeout=SECONDS)
        said = run.printed + out + err
        secret = (run.folder / "secret.key").read_text().strip()
    assert run.process.returncode == 0
    assert '"path":"/users"' in said
    assert run.keys["publishable"] in said
    assert run.keys["secret"] not in said
    assert secret not in said


def test_second_start_keeps_secret_and_keys(tmp_path: Path) -> None:
    names = ("secret.key", "keys.json")
    with started(tmp_path / "data"):
        before = [(tmp_path / "data" / name).read_bytes() for name in names]
    with started(tmp_path / "data"):
        assert [(tmp_path / "data" / name).read_bytes() for name in names] == before


# ---- refusals -------------------------------------------------------------------------------------------------------

EXAMPLE = "super-secret-jwt-token-with-at-least-32-characters-long"


@pytest.mark.parametrize("name", ["BROADSHEET_SECRET", "BROADSHEET_JWT_SECRET"])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("f3b1c7d9e2", "must have 32 random bytes"),
        ("ab" * 32, "must have 32 random bytes"),
        (EXAMPLE, "stands in examples"),
        ("your-256-bit-key-0a1b2c3d4e5f6a7b8c9d", "stands in examples"),
    ],
)
def test_secret_that_can_be_guessed_is_refused(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    assert main(["serve"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"broadsheet: {name} ")
    assert err.count("\n") == 1
    assert said in err
    assert value not in err


def test_start_with_the_secret_of_an_example_makes_nothing(tmp_path: Path) -> None:
    done = execute(tmp_path, "serve", BROADSHEET_PORT=str(free_port()), BROADSHEET_SECRET=EXAMPLE)
    assert_refused(done)
    assert not (tmp_path / "data").exists()


def test_public_address_without_tls_is_refused_in_production(tmp_path: Path) -> None:
    """With all else that is refused, and before anything is made or the address is listened on."""
    settings = {"BROADSHEET_HOST": "0.0.0.0", "BROADSHEET_MAILER": "console"}
    done = execute(tmp_path, "serve", BROADSHEET_PORT=str(free_port()), BROADSHEET_PRODUCTION="1", **settings)
    assert_refused(done, 2)
    assert "bind: listens on 0.0.0.0 without TLS" in done.stderr
    assert "mailer: console" in done.stderr
    assert not (tmp_path / "data").exists()


def test_open_file_of_the_secret_is_refused_in_production(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    (folder / "secret.key").write_text(GOOD)
    (folder / "secret.key").chmod(0o640)
    done = execute(tmp_path, "serve", BROADSHEET_PORT=str(free_port()), BROADSHEET_PRODUCTION="1")
    assert_refused(done)
    assert "secret: " in done.stderr
    assert "mode 0640" in done.stderr
    assert GOOD not in done.stderr


def test_superuser_of_postgresql_is_refused_in_production(tmp_path: Path, server: Server) -> None:
    with contextmanager(fresh_database)("postgresql", server, tmp_path) as url:
        settings = {"BROADSHEET_PRODUCTION": "1", "BROADSHEET_DATABASE_URL": url, "BROADSHEET_PORT": str(free_port())}
        done = execute(tmp_path, "serve", **settings)
    assert_refused(done)
    assert "is a superuser" in done.stderr
