"""What is no server but a measure for one: pgbench for transfers, bare argon2 for signing in. Each runs on the server's
core, for as long as a round takes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.client import percentile
from bench.figures import Round
from bench.loads import HOT, POOR, TELLERS
from bench.processes import Cores, Failed, children_cpu, cpu_seconds
from bench.store import ROOT, Backend, Store

MARGIN = 60  # seconds that a tool may take beyond its time


@dataclass(frozen=True, slots=True)
class Turn:
    """One round of a tool. `database` is the copy that it may change."""

    store: Store
    cores: Cores
    backend: Backend
    database: str
    load: str
    seconds: float
    number: int


Tool = Callable[[Turn], tuple[Round, int]]

# ---- pgbench --------------------------------------------------------------------------------------------------------

ACCOUNTS = {
    "transfer": r"""
\set sender random(:first, :last)
\set receiver :first + (:sender - :first + random(1, :last - :first)) % (:last - :first + 1)
\set amount random(1, 100)
""",
    "transfer-hot": r"""
\set other random(:first, :last)
\set out random(0, 1)
\set sender case when :out = 1 then :hot else :other end
\set receiver case when :out = 1 then :other else :hot end
\set amount random(1, 100)
""",
    "transfer-low": r"""
\set sender random(:first, :last)
\set receiver :first + (:sender - :first + random(1, :last - :first)) % (:last - :first + 1)
\set amount random(1, 5)
""",
}
FIVE = r"""
BEGIN;
WITH locked AS MATERIALIZED (
  SELECT id, balance FROM users WHERE id IN (:sender, :receiver) ORDER BY id FOR UPDATE
) SELECT balance AS funds FROM locked WHERE id = :sender \gset
\if :funds >= :amount
UPDATE users SET balance = balance - :amount WHERE id = :sender;
UPDATE users SET balance = balance + :amount WHERE id = :receiver;
INSERT INTO transfers (from_user_id, to_user_id, amount, created_at) VALUES (:sender, :receiver, :amount, now());
\endif
COMMIT;
"""
ONE = """
WITH locked AS MATERIALIZED (
  SELECT id FROM users WHERE id IN (:sender, :receiver) ORDER BY id FOR UPDATE
), debit AS (
  UPDATE users SET balance = balance - :amount FROM (SELECT count(*) FROM locked) AS taken
  WHERE id = :sender AND balance >= :amount RETURNING id
), credit AS (
  UPDATE users SET balance = balance + :amount FROM debit WHERE users.id = :receiver RETURNING users.id
) INSERT INTO transfers (from_user_id, to_user_id, amount, created_at)
SELECT :sender::bigint, :receiver::bigint, :amount::bigint, now() FROM credit;
"""


def pgbench_five(turn: Turn) -> tuple[Round, int]:
    """BEGIN, both accounts locked in order and read, two updates, an insert, COMMIT; as `-M prepared` sends them."""
    return _pgbench(turn, FIVE)


def pgbench_one(turn: Turn) -> tuple[Round, int]:
    """One statement, with the guard in the debit's own WHERE."""
    return _pgbench(turn, ONE)


def _pgbench(turn: Turn, transaction: str) -> tuple[Round, int]:
    users = turn.store.sizes.users
    low = turn.load == "transfer-low"
    first, last = (users - POOR + 1, users) if low else (HOT + 1, users - POOR)
    folder = turn.store.scratch / "pgbench"
    folder.mkdir(exist_ok=True)
    script, log = folder / "script.sql", folder / f"{turn.database}-{turn.number}"
    script.write_text(ACCOUNTS[turn.load] + transaction)
    cluster = turn.store.cluster
    where = ["-h", str(cluster.socket), "-U", "postgres", "-n", "-M", "prepared", "-c", str(TELLERS), "-j", "1"]
    what = ["-D", f"first={first}", "-D", f"last={last}", "-D", f"hot={HOT}", "-f", str(script)]
    how = ["-T", str(max(1, round(turn.seconds))), "--random-seed", str(turn.number + 1)]
    before = _made(turn)
    command = [str(cluster.bindir / "pgbench"), *where, *what, *how, "-l", "--log-prefix", str(log), turn.database]
    output, server, database = _run(command, turn, os.environ)
    latencies = sorted(int(line.split()[2]) / 1e6 for line in _lines(log))
    count = _number(r"actually processed: (\d+)", output)
    rate = _number(r"tps = ([\d.]+)", output)
    return _round(rate, count, latencies, server, database), _made(turn) - before


def _made(turn: Turn) -> int:
    """Transfers so far. pgbench says how many transactions it made, refusals too."""
    counted = turn.store.query(turn.backend, turn.database, "SELECT count(*) FROM transfers")
    return int(counted[0][0])


def _lines(log: Path) -> list[str]:
    """pgbench adds its process id to the name."""
    return [line for path in log.parent.glob(f"{log.name}.*") for line in path.read_text().splitlines()]


def _number(pattern: str, text: str) -> float:
    if (found := re.search(pattern, text)) is None:
        raise Failed(f"pgbench said: {text[-500:]}")
    return float(found[1])


# ---- argon2 ---------------------------------------------------------------------------------------------------------


def argon2(turn: Turn) -> tuple[Round, int]:
    """Two threads that verify passwords and do nothing else."""
    command = [sys.executable, "-m", "bench.hashing", str(turn.seconds)]
    output, _, _ = _run(command, turn, {**os.environ, "PYTHONPATH": str(ROOT)})
    said = json.loads(output)
    latencies = sorted(said["latencies"])
    return _round(len(latencies) / said["seconds"], len(latencies), latencies, said["cpu"], 0.0), 0


# ---- running them ---------------------------------------------------------------------------------------------------


def _run(command: Sequence[str], turn: Turn, environment: Mapping[str, str]) -> tuple[str, float, float]:
    """Output, and seconds of CPU of the tool and of the database. Raises Failed."""
    pids = [turn.store.cluster.pid]
    (before,), used = cpu_seconds(pids), children_cpu()
    done = subprocess.run(
        command,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=turn.seconds + MARGIN,
        preexec_fn=lambda: os.sched_setaffinity(0, turn.cores.server),
    )
    if done.returncode != 0:
        raise Failed(f"{Path(command[0]).name}: {done.stderr[:1000]}")
    return done.stdout, children_cpu() - used, cpu_seconds(pids)[0] - before


def _round(rate: float, count: float, latencies: list[float], server: float, database: float) -> Round:
    return Round(
        requests_per_second=rate,
        p50_ms=percentile(latencies, 0.5) * 1000,
        p99_ms=percentile(latencies, 0.99) * 1000,
        server_cpu_us=server / max(count, 1) * 1e6,
        database_cpu_us=database / max(count, 1) * 1e6,
    )


TOOLS: dict[str, Tool] = {"pgbench-five": pgbench_five, "pgbench-one": pgbench_one, "argon2": argon2}
