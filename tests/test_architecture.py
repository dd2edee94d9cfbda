"""The rules of the code that a program can check: layers, sizes, who may commit, who may read the environment."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from app.models import Base
from app.resources import CATALOG, PRIVATE

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "app").rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in FILES]

# Imports point to the left.
LAYERS = ["errors", "settings", "logs", "data", "query", "models", "policy", "repositories"]
LAYERS += ["accounts", "actions", "resources", "importers", "http", "cli"]
LAYER = {name: number for number, name in enumerate(LAYERS)}
MACHINERY = ("data", "query", "http")


def layer_of(path: Path) -> str:
    relative = path.relative_to(ROOT / "app")
    return relative.parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Modules under `app` that a file imports, at the top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = node.module or ""
            found |= {f"{module}.{alias.name}" for alias in node.names} if module == "app" else {module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.startswith("app.")}


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_imports_point_to_lower_layers(path: Path) -> None:
    own = layer_of(path)
    if own == "__init__":
        return
    for module in imports_of(path):
        layer = module.split(".")[1]
        if layer == "__version__":
            continue
        assert layer == own or LAYER[layer] < LAYER[own], f"{own} may not import {module}"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_file_is_short_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 350
    assert ast.get_docstring(ast.parse(text)), "a module opens with its docstring"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_only_settings_reads_the_environment(path: Path) -> None:
    if path.name == "settings.py":
        return
    assert not re.search(r"os\.environ|os\.getenv|from os import .*environ", path.read_text())


def attributes_called(path: Path) -> list[tuple[str, int]]:
    tree = ast.parse(path.read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    return [(call.func.attr, call.lineno) for call in calls if isinstance(call.func, ast.Attribute)]


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_only_the_data_layer_commits(path: Path) -> None:
    """Repositories flush; the one commit stands where the unit of work ends."""
    if layer_of(path) == "data":
        return
    assert "commit" not in {name for name, _ in attributes_called(path)}


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_no_statement_is_written_as_text(path: Path) -> None:
    """Statements are built from mapped classes; only PRAGMA, SET, ANALYZE and the like stand in data/ as text."""
    if layer_of(path) == "data":
        return
    assert not re.search(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM) [a-z\"*{]", strip_strings_of_prose(path))


def strip_strings_of_prose(path: Path) -> str:
    """The source without docstrings and comments, where SQL is explained."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0].value.value = ""
    return ast.unparse(tree)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_machinery_knows_no_resource_by_name(path: Path) -> None:
    """Another application is another domain on the same machinery: it says neither post nor tag."""
    if layer_of(path) not in MACHINERY:
        return
    source = strip_strings_of_prose(path)
    if path.parent.name == "openapi":
        source = source.replace("'tags': [", "")  # a field of every operation, in the standard's own words
    if path.name == "app.py" and layer_of(path) == "http":
        source = source.replace("app.resources", "").replace("app.accounts", "")
    for name in ("posts", "tags", "users", "transfers", "Post", "Tag", "User", "Transfer", "balance", "slug"):
        assert not re.search(rf"\b{name}\b", source), f"names {name}"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_middleware_is_pure_asgi(path: Path) -> None:
    """BaseHTTPMiddleware hides disconnects and cuts context variables."""
    assert "BaseHTTPMiddleware" not in strip_strings_of_prose(path)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_broad_excepts_stand_only_at_the_edges(path: Path) -> None:
    """`except Exception` belongs to the outermost middleware and the program's entry alone."""
    allowed = {"app/http/middleware.py", "app/cli/main.py"}
    if str(path.relative_to(ROOT)) in allowed:
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Name):
            assert node.type.id != "Exception", f"line {node.lineno}"


def test_every_relationship_raises_on_lazy_load() -> None:
    for mapper in Base.registry.mappers:
        for relation in mapper.relationships:
            assert relation.lazy == "raise", f"{mapper.class_.__name__}.{relation.key}"


def test_every_table_is_a_resource_or_private() -> None:
    """So that a new table is served by decision, not by omission. Columns: the catalog refuses one without an entry."""
    served = {resource.model for resource in CATALOG}
    own = {m.class_ for m in Base.registry.mappers if m.class_.__module__.startswith("app.")}
    assert served | PRIVATE == own
    assert not served & PRIVATE
