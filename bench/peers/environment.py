"""Which database a peer serves, and how large its pool is. Refuses a start without BENCH_DATABASE_URL."""

from __future__ import annotations

import os
from datetime import timedelta

URL = os.environ["BENCH_DATABASE_URL"]
POOL = int(os.environ.get("BENCH_POOL", "16"))
SQLITE = URL.startswith("sqlite:")

# As Broadsheet's own: without `trusted_schema` the triggers of the full-text index may not run.
PRAGMAS = {
    "journal_mode": "WAL",
    "synchronous": "FULL",
    "busy_timeout": "5000",
    "foreign_keys": "ON",
    "trusted_schema": "ON",
}

SECRET = "a secret of the benchmarks, which signs what nobody asks for again"
LIFETIME = timedelta(hours=1)


def driver(postgresql: str, sqlite: str) -> str:
    """The URL with the driver that serves its database."""
    scheme, _, rest = URL.partition("://")
    return f"{scheme}+{sqlite if SQLITE else postgresql}://{rest}"
