"""Settings from BROADSHEET_* variables, read once. No other module reads the environment.

The limits are those of `docs/query.md`; each has one default for every role unless it says otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from app.errors import BadSetting

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for. Sizes are bytes, times seconds."""

    url: int = 16 * 1024
    body: int = MIB
    body_rows: int = 1000
    affected: int = 1000
    json_depth: int = 32
    json_digits: int = 40
    embed_depth: int = 4
    embeds: int = 12
    embed_tests: int = 300
    select_items: int = 100
    filters: int = 50
    logic_nodes: int = 100
    logic_depth: int = 8
    list_items: int = 1000
    any_items: int = 100
    pattern: int = 256
    order_terms: int = 8
    name: int = 63
    offset: int = 100_000
    page: int = 1000
    page_service: int = 10_000
    page_plain: int = 20
    answer_rows: int = 50_000
    answer_bytes: int = 16 * MIB
    statement_anonymous: float = 3.0
    statement_user: float = 8.0
    statement_service: float = 30.0
    shapes: int = 2000
    new_shapes: int = 600
    batch_requests: int = 50
    batch_answer: int = 16 * MIB
    aggregates: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    host: str = "127.0.0.1"
    port: int = 8000
    data_dir: Path = Path("data")
    database_url: str = ""
    migrate_url: str = ""
    pool_size: int = 6
    pooler: str = ""
    require_key: bool = False
    origins: tuple[str, ...] = ()
    allow_rollback: bool = False
    server_timing: bool = False
    log_level: str = "info"
    limits: Limits = field(default_factory=Limits)

    @property
    def url(self) -> str:
        """The database: BROADSHEET_DATABASE_URL, else a SQLite file in the data directory."""
        return self.database_url or f"sqlite+aiosqlite:///{quote(str(self.data_dir / 'broadsheet.db'))}"

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Settings:
        """Raises BadSetting with one clear line for a value that cannot be read."""
        default = cls()
        return cls(
            host=env.get("BROADSHEET_HOST") or default.host,
            port=_number(env, "BROADSHEET_PORT", default.port, 65535),
            data_dir=Path(env.get("BROADSHEET_DATA_DIR") or default.data_dir),
            database_url=env.get("BROADSHEET_DATABASE_URL", ""),
            migrate_url=env.get("BROADSHEET_MIGRATE_URL", ""),
            pool_size=_number(env, "BROADSHEET_POOL_SIZE", default.pool_size, 1000),
            pooler=_choice(env, "BROADSHEET_POOLER", ("", "transaction")),
            require_key=_switch(env, "BROADSHEET_REQUIRE_KEY"),
            origins=_list(env, "BROADSHEET_CORS_ORIGINS"),
            allow_rollback=_switch(env, "BROADSHEET_TX_ROLLBACK"),
            server_timing=_switch(env, "BROADSHEET_SERVER_TIMING"),
            log_level=_choice(env, "BROADSHEET_LOG_LEVEL", ("info", "debug", "warning", "error")),
            limits=Limits(aggregates=_switch(env, "BROADSHEET_AGGREGATES")),
        )


def _number(env: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = env.get(name, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
        raise BadSetting(f"{name} must be a number from 1 to {most}, not {text!r}")
    return int(text)


def _switch(env: Mapping[str, str], name: str) -> bool:
    text = env.get(name, "").strip().lower()
    if text not in ("", "0", "1", "true", "false", "yes", "no", "on", "off"):
        raise BadSetting(f"{name} must be 1 or 0, not {text!r}")
    return text in ("1", "true", "yes", "on")


def _list(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in env.get(name, "").split(","))))


def _choice(env: Mapping[str, str], name: str, among: tuple[str, ...]) -> str:
    text = env.get(name, "").strip().lower() or among[0]
    if text not in among:
        raise BadSetting(f"{name} must be one of {', '.join(filter(None, among))}, not {text!r}")
    return text
