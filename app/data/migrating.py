"""Alembic from Python: the one chain of migrations for both databases. Imported only where there is something to
migrate.

What happens around a migration (locks, time-outs, checks) stands in `migrations/env.py`, so that it holds for the
`alembic` command too.
"""

from __future__ import annotations

import io
import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL

from app.errors import BadSetting

ROOT = Path(__file__).resolve().parents[2] / "migrations"
ONE_AT_A_TIME = threading.Lock()  # Alembic keeps its context in the module


def configuration(url: str | URL, output: io.StringIO | None = None) -> Config:
    """Alembic's configuration for a database; `output` takes the SQL of offline runs."""
    config = Config(output_buffer=output, stdout=io.StringIO())
    config.set_main_option("script_location", str(ROOT).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["url"] = url
    return config


def migrate(url: str | URL, target: str = "head", config: Config | None = None) -> None:
    """Upgrade to a newer revision or downgrade to an older one. Not inside a running event loop: give it a thread.

    Raises BadSetting for a target that does not exist.
    """
    config = config or configuration(url)
    with ONE_AT_A_TIME:
        try:
            if target == "base" or target.startswith("-"):
                command.downgrade(config, target)
            else:
                command.upgrade(config, target)
        except CommandError as exc:
            raise BadSetting(f"cannot migrate to {target}: {exc}") from exc


def sql(url: str | URL, target: str = "head") -> str:
    """The statements that take an empty database to `target`."""
    output = io.StringIO()
    with ONE_AT_A_TIME:
        command.upgrade(configuration(url, output), target, sql=True)
    return output.getvalue()
