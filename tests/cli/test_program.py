"""The program as a person starts it: what it prints, how it stops, what it refuses in one line."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from app.cli.main import main
from app.cli.serve import place_of
from app.settings import Settings

SECONDS = 20  # that a start may take on a busy machine


def environment(folder: Path, **more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {"BROADSHEET_DATA_DIR": str(folder / "data"), "PYTHONUNBUFFERED": "1"} | more


def program(*words: str) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "app.cli.main", *words]


def execute(folder: Path, *words: str, given: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        program(*words), input=given, env=environment(folder, **more), capture_output=True, text=True, timeout=SECONDS
    )


def free_port() -> int:
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) != 0:
                return port


@contextmanager
def serving(folder: Path, port: int, **more: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    """The process and what it printed until it served."""
    settings = environment(folder, BROADSHEET_PORT=str(port), **more)
    process = subprocess.Popen(
        program("serve"), env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        printed = "".join(iter_greeting(process))
        yield process, printed
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def iter_greeting(process: subprocess.Popen[str]) -> Generator[str]:
    assert process.stdout is not None
    for line in process.stdout:
        yield line
        if "make demo" in line:
            return


# ---- serve ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_server_says_what_one_needs_serves_and_stops(tmp_path: Path, sign: signal.Signals) -> None:
    port = free_port()
    with serving(tmp_path, port) as (process, printed):
        keys = json.loads((tmp_path / "data" / "keys.json").read_text())
        for text in (
            f"http://127.0.0.1:{port}",
            str(tmp_path / "data" / "broadsheet.db"),
            keys["publishable"],
            "broadsheet keys",
            "broadsheet create-admin NAME",
            "make demo",
        ):
            assert text in printed
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:
            assert client.get("/health/ready").status_code == 200
            made = client.post("/tags", json={"name": "first"}, headers={"apikey": keys["secret"]})
            assert made.status_code == 201
            assert "server" not in made.headers
        process.send_signal(sign)
        out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 0
    assert keys["secret"] not in printed + out + err
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["path"] for line in lines if line["message"] == "request"] == ["/health/ready", "/tags"]


def test_busy_port_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    port = free_port()
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", port))
        sock.listen()
        done = execute(tmp_path, "serve", BROADSHEET_PORT=str(port))
    assert_refused(done)
    assert str(port) in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BROADSHEET_DATABASE_URL", "mysql://root:hunter2@localhost/blog"),
        ("BROADSHEET_DATABASE_URL", "not a url"),
        ("BROADSHEET_PORT", "eighty"),
        ("BROADSHEET_POOL_SIZE", "0"),
        ("BROADSHEET_REQUIRE_KEY", "perhaps"),
        ("BROADSHEET_HOST", "203.0.113.7"),
        ("BROADSHEET_DATA_DIR", "/proc/nowhere"),
    ],
)
def test_bad_setting_is_refused_in_one_line(tmp_path: Path, name: str, value: str) -> None:
    settings = {"BROADSHEET_PORT": str(free_port()), name: value}
    done = execute(tmp_path, "serve", **settings)
    assert_refused(done)
    assert "hunter2" not in done.stderr


def assert_refused(done: subprocess.CompletedProcess[str], reasons: int = 1) -> None:
    """A line for each reason."""
    assert done.returncode == 2, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == reasons, done.stderr
    assert all(line.startswith("broadsheet: ") for line in lines)
    assert done.stdout == ""


def test_database_that_does_not_answer_is_one_line_too(tmp_path: Path) -> None:
    done = execute(
        tmp_path,
        "serve",
        BROADSHEET_PORT=str(free_port()),
        BROADSHEET_DATABASE_URL=f"postgresql://x:hunter2@127.0.0.1:{free_port()}/blog",
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "broadsheet: Database connection error\n"


def test_place_of_the_data_shows_no_password(tmp_path: Path) -> None:
    def place(url: str) -> str:
        return place_of(Settings(data_dir=tmp_path, database_url=url))

    assert place("") == str(tmp_path / "broadsheet.db")
    assert place("postgresql://ada:secret@db:5433/blog?ssl=require") == "postgresql://ada@db:5433/blog"
    assert place("postgres://ada@/blog?host=/run/pg&password=secret") == "postgresql://ada@/blog?host=%2Frun%2Fpg"


# ---- the other commands ---------------------------------------------------------------------------------------------


def test_keys_are_printed(tmp_path: Path) -> None:
    shown = json.loads(execute(tmp_path, "keys", "--json").stdout)
    plain = execute(tmp_path, "keys")
    assert plain.stdout == f"publishable  {shown['publishable']}\nsecret       {shown['secret']}\n"
    assert plain.returncode == 0


def test_migrate_goes_up_and_down(tmp_path: Path) -> None:
    assert execute(tmp_path, "migrate").returncode == 0
    assert execute(tmp_path, "migrate", "--to", "base").returncode == 0
    done = execute(tmp_path, "migrate", "--to", "nowhere")
    assert_refused(done)


def test_migrate_prints_sql_and_changes_nothing(tmp_path: Path) -> None:
    done = execute(tmp_path, "migrate", "--sql")
    assert done.returncode == 0
    assert "CREATE TABLE posts" in done.stdout
    assert not (tmp_path / "data").exists()


def test_first_admin(tmp_path: Path) -> None:
    done = execute(tmp_path, "create-admin", "Ada", "--email", "ada@example.org", given="a good long secret\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "ada is an admin, with the id 1\n"
    again = execute(tmp_path, "create-admin", "ada", given="a good long secret\n")
    assert again.returncode == 1
    assert again.stderr.startswith('broadsheet: duplicate key value violates unique constraint "users_username_key"')


@pytest.mark.parametrize(("password", "code"), [("", 2), ("short\n", 1), ("password123\n", 1)])
def test_admin_needs_a_password(tmp_path: Path, password: str, code: int) -> None:
    done = execute(tmp_path, "create-admin", "ada", given=password)
    assert done.returncode == code
    assert done.stderr.startswith("broadsheet: ")
    assert done.stderr.count("\n") == 1


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["--help"])
    assert done.value.code == 0
    text = capsys.readouterr().out
    for command in ("serve", "migrate", "keys", "create-admin", "import", "demo"):
        assert re.search(rf"^    {command}\s", text, re.MULTILINE)


def test_unknown_command_is_refused() -> None:
    with pytest.raises(SystemExit) as done:
        main(["sing"])
    assert done.value.code == 2


def test_server_imports_no_alembic() -> None:
    """It takes 70 ms and 12 MB, and a server needs it only where there is something to migrate."""
    code = "import sys, app.cli.serve, app.http.app; print('alembic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=SECONDS)
    assert done.stdout == "False\n"
