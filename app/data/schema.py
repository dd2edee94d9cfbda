"""Which schema this program knows: the newest of its migrations. Imports no Alembic."""

from __future__ import annotations

from pathlib import Path

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations" / "versions"


def newest_revision() -> str:
    """Revisions are numbered in order: `0001_first.py` comes before `0002_...`."""
    return max(path.name.partition("_")[0] for path in MIGRATIONS.glob("[0-9]*_*.py"))
