"""The scripts in `examples/` and the one in the README run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*arguments: str, url: str, text: str = "") -> str:
    environment = {**os.environ, "BROADSHEET_DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", *arguments]
    done = subprocess.run(command, env=environment, input=text, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_scripts_publish_and_report(empty_url: str) -> None:
    assert run("examples/publish.py", "A title", url=empty_url, text="Text.").startswith("published a-title, version 3")
    run("examples/publish.py", "A title", url=empty_url)
    printed = run("examples/report.py", url=empty_url)
    assert "A title, by example (example, python)" in printed
    assert "  example: 2\n" in printed
    assert (
        '{"title":"A title","author":{"username":"example"},"tags":[{"name":"example"},{"name":"python"}]}' in printed
    )


def test_script_of_the_readme_runs(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'broadsheet.db'}"
    run("examples/publish.py", "A title", url=url)
    (source,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert "sqlite:///data/broadsheet.db" in source
    script = tmp_path / "script.py"
    script.write_text(source.replace("sqlite:///data/broadsheet.db", url))
    assert run(str(script), url=url) == "A title example ['example', 'python']\n"
