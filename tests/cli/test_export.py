"""`broadsheet export` and `broadsheet import jsonl`: where the lines go, what is printed, what is left behind by a
failure.
"""

from __future__ import annotations

import argparse
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.cli import export
from app.data.database import Database
from app.data.rules import SYSTEM
from app.errors import BadSetting, Unavailable
from app.resources import CATALOG
from app.settings import Settings
from tests.cli.commands import Command, command_on
from tests.cli.test_program import environment, program
from tests.conftest import in_thread
from tests.factories import make_post, make_user


@pytest.fixture
def command(spare_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    in_thread(fill(spare_url))
    return command_on(spare_url, tmp_path / "data", monkeypatch)


async def fill(url: str) -> None:
    async with Database(url, CATALOG) as database, database.writing(SYSTEM) as session:
        ada = await make_user(session, username="ada", role="admin")
        await make_post(session, ada, title="Hello", tags=("news",))


def rows(content: bytes) -> list[Any]:
    """All lines but the first, which says when."""
    return [json.loads(line) for line in content.splitlines()[1:]]


# ---- export ---------------------------------------------------------------------------------------------------------


def test_file_holds_all_and_is_its_owners_alone(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "all.jsonl"
    file.write_text("what was there before")
    file.chmod(0o644)
    assert command("export", file) == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [list(line) for line in rows(file.read_bytes())] == [["user"], ["tag"], ["post"]]
    assert capsys.readouterr() == ("", "1 users, 1 tags, 1 posts exported\n")


@pytest.mark.parametrize("words", [("export",), ("export", "-")])
def test_lines_go_to_standard_output_without_a_file(
    command: Command, words: tuple[str, ...], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert command(*words) == 0
    out, err = capfdbinary.readouterr()
    assert [list(line) for line in rows(out)] == [["user"], ["tag"], ["post"]]
    assert err == b"1 users, 1 tags, 1 posts exported\n"


def test_link_is_followed(command: Command, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real.jsonl")
    assert command("export", tmp_path / "link") == 0
    assert (tmp_path / "link").is_symlink()
    assert len(rows((tmp_path / "real.jsonl").read_bytes())) == 3


@pytest.mark.parametrize("error", [Unavailable("lost"), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_failure_leaves_what_was_there(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    async def fail(settings: Settings, file: Any) -> None:
        file.write(b"half")
        raise error

    monkeypatch.setattr(export, "_export", fail)
    file = tmp_path / "out" / "all.jsonl"
    file.parent.mkdir()
    file.write_text("what was there before")
    assert command("export", file) in (1, 130)
    assert [(path.name, path.read_text()) for path in file.parent.iterdir()] == [("all.jsonl", "what was there before")]


@pytest.mark.parametrize("name", ["folder", "nowhere/all.jsonl", "folder/pipe"])
def test_what_can_be_no_file_is_refused_and_left_alone(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "folder" / "pipe")
    before = (tmp_path / name).stat().st_mode if (tmp_path / name).exists() else None
    command = command_on("", tmp_path / "data", monkeypatch)
    assert command("export", tmp_path / name) == 2
    assert capsys.readouterr().err.startswith("broadsheet: /")
    assert (tmp_path / name).exists() == (before is not None)
    assert before is None or (tmp_path / name).stat().st_mode == before
    assert not (tmp_path / "data").exists()


def test_database_without_its_schema_is_refused(
    empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_on(empty_url, tmp_path, monkeypatch)("export", tmp_path / "all.jsonl") == 2
    assert "run `broadsheet migrate` first" in capsys.readouterr().err
    assert not (tmp_path / "all.jsonl").exists()


def test_closed_standard_output_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(BadSetting, match="standard output is closed"):
        export.run(argparse.Namespace(path=export.STANDARD_OUTPUT), Settings(data_dir=tmp_path))


def test_reader_that_goes_away_is_one_line(tmp_path: Path) -> None:
    subprocess.run(program("migrate"), env=environment(tmp_path), check=True, capture_output=True)
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        program("export"), env=environment(tmp_path), stdout=theirs, stderr=subprocess.PIPE, text=True
    )
    os.close(theirs)
    assert (done.returncode, done.stderr) == (1, "broadsheet: [Errno 32] Broken pipe\n")


# ---- import ---------------------------------------------------------------------------------------------------------


def test_export_goes_into_an_empty_database(
    command: Command,
    empty_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    command("export", first)
    other = command_on("", tmp_path / "other", monkeypatch)
    assert other("import", "jsonl", first, "--admins") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 posts: 1 posts created, 0 not posts, 0 errors"
    other("export", second)
    assert rows(second.read_bytes()) == rows(first.read_bytes())
    assert other("import", "jsonl", first) == 0
    assert "1 posts: 0 posts created, 1 unchanged" in capsys.readouterr().out


def test_admins_come_in_as_authors_and_the_report_says_so(
    command: Command,
    empty_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "all.jsonl"
    command("export", file)
    other = command_on("", tmp_path / "other", monkeypatch)
    assert other("import", "jsonl", file) == 0
    note = f"{file}:2: note: user 'ada' is an admin there and comes in as an author; --admins keeps admins"
    assert note in capsys.readouterr().out.splitlines()
    other("export", file)
    assert rows(file.read_bytes())[0]["user"]["role"] == "author"


def test_bad_lines_are_named_and_the_rest_goes_in(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "made.jsonl"
    file.write_text('{"broadsheet": 1}\n{"tag": {"name": "good"}}\n{"tag": {"name": 1}}\nbroken\n')
    assert command("import", "jsonl", file, "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert [problem["line"] for problem in report["problems"]] == [3, 4]
    assert report["tags_created"] == ["good"]


def test_standard_input_is_read(tmp_path: Path) -> None:
    given = '{"broadsheet": 1, "users": 0, "tags": 1, "posts": 0}\n{"tag": {"name": "good"}}\n'
    words = program("import", "jsonl", "-")
    done = subprocess.run(words, env=environment(tmp_path), input=given, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 tags created" in done.stdout.splitlines()


def test_missing_file_is_refused_before_the_database_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = command_on("", tmp_path / "data", monkeypatch)
    assert command("import", "jsonl", tmp_path / "nowhere") == 2
    assert capsys.readouterr().err == f"broadsheet: {tmp_path}/nowhere is no file\n"
    assert not (tmp_path / "data").exists()
