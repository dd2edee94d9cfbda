"""`broadsheet import` and `broadsheet demo`: arguments, what is printed where, exit codes, Ctrl-C."""

from __future__ import annotations

import argparse
import io
import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.cli import demo, importing, progress
from app.cli.progress import Progress
from app.errors import BadSetting
from app.settings import Settings

POST = '+++\npath = "2021/03/24/{slug}"\ntitle = "{slug}"\nauthors = ["Jane Doe", "Rémy Rakic"]\n+++\nText\n'

PROGRAM = """
import argparse, sys
from app.cli import demo
from app.settings import Settings
parser = argparse.ArgumentParser()
demo.register(parser.add_subparsers())
arguments = parser.parse_args(sys.argv[1:])
sys.exit(arguments.run(arguments, Settings.from_env()))
"""


def execute(settings: Settings, *words: str | Path) -> int:
    """The command in a thread of its own, since it starts a loop."""
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    importing.register(subparsers)
    demo.register(subparsers)
    arguments = parser.parse_args(list(map(str, words)))
    with ThreadPoolExecutor(1) as executor:
        code = executor.submit(arguments.run, arguments, settings).result()
    assert isinstance(code, int)
    return code


def settings_of(url: str, folder: Path) -> Settings:
    return Settings(data_dir=folder, database_url=url)


@pytest.fixture
def blog(tmp_path: Path) -> Path:
    folder = tmp_path / "blog"
    folder.mkdir()
    for slug in ("one", "two"):
        (folder / f"{slug}.md").write_text(POST.format(slug=slug), encoding="utf-8")
    (folder / "_index.md").write_text("+++\n+++\n")
    return folder


def test_markdown_goes_into_an_empty_database(
    empty_url: str, tmp_path: Path, blog: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of(empty_url, tmp_path)
    assert execute(settings, "import", "markdown", blog) == 0
    assert capsys.readouterr().out.splitlines() == [
        "2 authors; users: 2 created, 0 found",
        "2 posts have several authors; the first is the author (--verbose names them)",
        "0 tags created",
        "3 files: 2 posts created, 1 not posts, 0 errors",
    ]
    assert execute(settings, "import", "markdown", blog) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3 files: 0 posts created, 2 unchanged, 1 not posts, 0 errors"


def test_errors_are_named_by_file_and_line_and_the_rest_goes_on(
    spare_url: str, tmp_path: Path, blog: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (blog / "bad.md").write_text('+++\ntitle = "Bad"\ndate = "2019-13-45"\n+++\n')
    (blog / "broken.md").write_text("+++\ntitle = \n+++\n")
    (blog / "latin.md").write_bytes(b"+++\ntitle = 'caf\xe9'\n+++\n")
    (blog / "three.md").write_text(POST.format(slug="two"))
    assert execute(settings_of(spare_url, tmp_path), "import", "markdown", blog) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{blog}/bad.md:3: `date`: '2019-13-45' is no date"
    assert lines[1].startswith(f"{blog}/broken.md:2: the front matter is no TOML")
    assert lines[2] == f"{blog}/latin.md:2: the file is not UTF-8"
    assert lines[3] == f"{blog}/two.md: the slug '2021-03-24-two' is that of {blog}/three.md"
    assert lines[-1] == "7 files: 2 posts created, 1 not posts, 4 errors"


def test_dry_run_writes_nothing(spare_url: str, tmp_path: Path, blog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = settings_of(spare_url, tmp_path)
    assert execute(settings, "import", "markdown", blog, "--dry-run") == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "3 files: 2 posts created, 1 not posts, 0 errors",
        "nothing was written: this was a dry run",
    ]
    execute(settings, "import", "markdown", blog)
    assert "3 files: 2 posts created" in capsys.readouterr().out


def test_update_changes_what_differs(
    spare_url: str, tmp_path: Path, blog: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of(spare_url, tmp_path)
    execute(settings, "import", "markdown", blog)
    with (blog / "one.md").open("a") as file:
        file.write("More\n")
    capsys.readouterr()
    execute(settings, "import", "markdown", blog)
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "3 files: 0 posts created, 1 unchanged, 1 exist and differ, 1 not posts, 0 errors",
        "posts that exist and differ were left as they are; --update changes them",
    ]
    execute(settings, "import", "markdown", blog, "--update")
    expected = "3 files: 0 posts created, 1 unchanged, 1 updated, 1 not posts, 0 errors"
    assert capsys.readouterr().out.splitlines()[-1] == expected


def test_verbose_names_co_authors_and_what_is_no_post(
    spare_url: str, tmp_path: Path, blog: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(settings_of(spare_url, tmp_path), "import", "markdown", blog, "--verbose")
    lines = capsys.readouterr().out.splitlines()
    assert f"{blog}/_index.md: not a post: a section page" in lines
    assert "2021-03-24-one: jane-doe (author), remy-rakic" in lines


def test_report_as_json(spare_url: str, tmp_path: Path, blog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (blog / "bad.md").write_text('+++\ntitle = "Bad"\ndate = "2019-13-45"\n+++\n')
    assert execute(settings_of(spare_url, tmp_path), "import", "markdown", blog, "--json") == 1
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert report["problems"] == [{"path": f"{blog}/bad.md", "line": 3, "reason": "`date`: '2019-13-45' is no date"}]
    assert (report["total"], report["created"], report["users_created"]) == (4, 2, ["jane-doe", "remy-rakic"])


def test_ghost_export_is_imported(empty_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    post = {"id": 1, "title": "A", "slug": "a", "html": "<p>A</p>", "status": "published", "created_at": 1616587200000}
    page = post | {"id": 2, "slug": "b", "type": "page"}
    file = tmp_path / "export.json"
    file.write_text(json.dumps({"data": {"posts": [post, page]}}))
    assert execute(settings_of(empty_url, tmp_path), "import", "ghost", file) == 0
    out = capsys.readouterr().out
    assert f"{file}: note: post 'a': it has no known author" in out
    assert out.endswith("2 posts and pages: 1 posts created, 1 not posts, 0 errors\n")


@pytest.mark.parametrize("kind", ["markdown", "ghost"])
def test_missing_source_is_refused_before_the_database_is_touched(kind: str, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="nowhere is no"):
        execute(Settings(data_dir=tmp_path / "data"), "import", kind, tmp_path / "nowhere")
    assert not (tmp_path / "data").exists()


def test_demo_fills_a_fresh_database_once(empty_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("demo", "--users", "3", "--posts", "12", "--tags", "4", "--seed", "5")
    settings = settings_of(empty_url, tmp_path)
    assert execute(settings, *words) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "4 tags created",
        "12 posts: 12 posts created, 0 not posts, 0 errors",
    ]
    assert execute(settings, *words) == 0
    assert "12 posts: 0 posts created, 12 unchanged" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["-1", "many", "١٢", "1e3", "99999999999999999999", ""])
def test_demo_refuses_what_is_no_number(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        execute(Settings(data_dir=tmp_path), "demo", f"--posts={text}")
    assert stopped.value.code == 2
    assert "a number from 0 to" in capsys.readouterr().err


def test_unreachable_database_is_one_line(tmp_path: Path, blog: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = settings_of(f"postgresql:///nothing?host={tmp_path}", tmp_path)
    assert execute(settings, "import", "markdown", blog) == 1
    assert capsys.readouterr().err == "broadsheet: Database connection error\n"


def test_interrupted_run_says_how_far_it_came(tmp_path: Path) -> None:
    """Takes about three seconds: the first line of progress comes after two."""
    environment = {"BROADSHEET_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-c", PROGRAM, "demo", "--posts", "5000000"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # who starts the tests in the background of a shell has SIGINT ignored, and so would the program
    pipes["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, env=environment, **pipes) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert " of 5000000 posts, " in line
    assert process.returncode == 130
    assert "Traceback" not in err
    summary = out.splitlines()[-1]
    assert summary.startswith("interrupted after ")
    done = int(summary.split()[2])
    assert done >= int(line.split()[0]) > 0
    assert f"{done} posts created" in summary


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress(10, "files") as shown:
        shown(4)
        assert shown.bar is not None
        shown.bar.refresh()
    assert "4/10" in terminal.getvalue()
    assert "files/s" in terminal.getvalue()


def test_progress_is_silent_for_short_runs_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(10, "files") as shown:
        shown(4)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("total", "line"),
    [(100, "20 of 100 files, 10/s, 8 s left"), (20, "20 of 20 files, 10/s, 0 s left"), (None, "20 files, 10/s")],
)
def test_line_of_progress(total: int | None, line: str) -> None:
    assert progress.line(20, total, "files", 2.0) == line
