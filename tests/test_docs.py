"""The documentation names what the code has: settings, limits, operators, commands, modules, files."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from app.accounts.events import Kind
from app.accounts.wire.refused import refused_calls
from app.accounts.wire.routes import CALLS, OPEN
from app.http.armour import ConnectionLimits
from app.query.operators import OPERATORS
from app.resources import CATALOG
from app.settings import Limits, RateLimits
from tests import rules_page

ROOT = Path(__file__).resolve().parent.parent
PAGES = {path.name: path.read_text() for path in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]}
EVERYTHING = "\n".join(PAGES.values())


def test_every_setting_is_documented() -> None:
    source = (ROOT / "app" / "settings.py").read_text() + (ROOT / "tests" / "conftest.py").read_text()
    named = set(re.findall(r"BROADSHEET_[A-Z_]+", source))
    assert named == set(re.findall(r"\| (BROADSHEET_[A-Z_]+) \|", PAGES["operating.md"]))


def test_every_limit_is_documented_with_its_default() -> None:
    table = dict(re.findall(r"^\| ([a-z_]+) \| ([0-9.]+) \|", PAGES["operating.md"], re.MULTILINE))
    limits = {field.name: float(field.default) for field in dataclasses.fields(Limits)}  # type: ignore[arg-type]  # all have one
    assert {name: float(value) for name, value in table.items()} == limits


def test_every_rate_and_limit_of_connections_is_documented_with_its_default() -> None:
    table = dict(re.findall(r"^\| ([a-z_]+) \| ([0-9.]+) \|", PAGES["security.md"], re.MULTILINE))
    known = {f.name: f.default for limits in (RateLimits, ConnectionLimits) for f in dataclasses.fields(limits)}
    counted = {name: float(value) for name, value in known.items() if isinstance(value, int | float)}
    assert {name: float(value) for name, value in table.items()} == counted


def test_every_call_of_the_account_api_is_documented() -> None:
    page = PAGES["accounts.md"]
    for path, handlers in {**CALLS, **OPEN}.items():
        for method in handlers:
            assert re.search(rf"{method}[^|\n]*{re.escape(path)}(?![\w/])", page), f"{method} {path}"
    for path in refused_calls():
        assert path.endswith("{rest:path}") or path in page, path


def test_every_code_of_the_account_api_is_documented() -> None:
    folder = ROOT / "app" / "accounts"
    source = "\n".join(path.read_text() for path in [*(folder / "wire").glob("*.py"), folder / "sessions.py"])
    codes = set(re.findall(r"(?:Refusal|Refused)\(\s*(?:\d{3}, )?\"([a-z_]+)\"", source))
    assert {"invalid_credentials", "refresh_token_already_used", "otp_expired"} <= codes
    assert {code for code in codes if f"`{code}`" not in PAGES["accounts.md"]} == set()


def test_every_kind_of_event_is_documented() -> None:
    for kind in Kind:
        assert f"| {kind.value} |" in PAGES["security.md"]


def test_every_operator_is_documented() -> None:
    assert set(OPERATORS) == set(re.findall(r"^\| `([a-z]+)` \|", PAGES["query.md"], re.MULTILINE))


def test_rules_page_is_generated_from_the_policy() -> None:
    assert PAGES["rules.md"] == rules_page.render(CATALOG)


def test_every_module_stands_on_the_map() -> None:
    page = PAGES["architecture.md"]
    for path in (ROOT / "app").rglob("*.py"):
        relative = path.relative_to(ROOT / "app")
        if path.name == "__init__.py":
            continue
        package = f"{relative.parts[0]}/"
        assert f"`{path.name}`" in page or f"`{package}`" in page, f"{relative} is not on the map"


def test_every_command_is_documented() -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets
    for target in ("run", "test", "check", "migrate", "revision", "demo"):
        assert target in targets
        assert f"make {target}" in EVERYTHING


@pytest.mark.parametrize("name", sorted(PAGES))
def test_links_lead_somewhere(name: str) -> None:
    folder = ROOT if name == "README.md" else ROOT / "docs"
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", PAGES[name]):
        assert (folder / target).exists(), target


def test_named_files_exist() -> None:
    for path in set(re.findall(r"`((?:app|tests|examples|docs)/[\w/.]+)`", EVERYTHING)):
        if path == "app/models/comments.py":  # what docs/extending.md lets the reader write
            continue
        assert (ROOT / path).exists(), path
