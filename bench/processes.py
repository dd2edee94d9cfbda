"""Processes of a benchmark: on which core they run, how they begin and end, what they cost. Linux alone: costs are read
from /proc.

Ends only what it began, by its pid.
"""

from __future__ import annotations

import functools
import os
import resource
import signal
import socket
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.localpg import die_with_parent

PATIENCE = 20  # seconds for a process to end by itself
TICK = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A program of the benchmarks did not do what it should, and what it said."""


@dataclass(frozen=True, slots=True)
class Cores:
    """The server under test has one core for itself; clients and PostgreSQL share another."""

    server: frozenset[int]
    client: frozenset[int]
    all: frozenset[int]

    @classmethod
    def of_machine(cls) -> Cores:
        """Of those that this process may use the last and the first; the same one where there is no other."""
        usable = sorted(os.sched_getaffinity(0))
        return cls(frozenset(usable[-1:]), frozenset(usable[:1]), frozenset(usable))


class Process:
    """One program on some cores, with a log. It ends with the benchmark, and is in a session of its own, so that Ctrl-C
    is for the benchmark alone.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path, cores: Iterable[int]) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=functools.partial(_begin, set(cores), os.getpid()),
            )
        self.pid = self._process.pid

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def wait(self) -> int:
        return self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what is still there after a while. The second call does nothing."""
        if self.has_ended:
            return
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait(PATIENCE)

    def last_words(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


def _begin(cores: set[int], parent: int) -> None:
    os.sched_setaffinity(0, cores)
    die_with_parent(parent)


def free_port() -> int:
    """One below the range from which the kernel takes the ports of outgoing connections, so that none is in the way."""
    for port in range(21000 + os.getpid() % 5000, 32000):
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port on the loopback address")


# ---- costs ----------------------------------------------------------------------------------------------------------


def tree(pids: Iterable[int]) -> list[int]:
    """These processes and all below them."""
    return _below(pids, _children())


def _children() -> dict[int, list[int]]:
    """Of every process of the machine: some kernels do not list those of one."""
    children: dict[int, list[int]] = {}
    for pid, fields in ((int(name), _stat(name)) for name in os.listdir("/proc") if name.isdigit()):
        if fields:
            children.setdefault(int(fields[1]), []).append(pid)
    return children


def _below(pids: Iterable[int], children: Mapping[int, list[int]]) -> list[int]:
    found: list[int] = []
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def _stat(pid: int | str) -> list[str]:
    """The fields after the name, which may hold spaces; none where it ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def cpu_seconds(*groups: Iterable[int]) -> list[float]:
    """For each group: what these processes, all below them and those below them that ended have used of any core."""
    children = _children()
    return [sum(map(_ticks, _below(pids, children))) / TICK for pids in groups]


def _ticks(pid: int) -> int:
    return sum(map(int, _stat(pid)[11:15]))  # utime, stime, and both of children that ended


def children_cpu() -> float:
    """Seconds of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def memory_mib(pids: Iterable[int]) -> float:
    """What these processes and all below them have resident."""
    lines = [line for pid in tree(pids) for line in _rollup(pid)]
    return sum(int(line.split()[1]) for line in lines if line.startswith("Rss:")) / 1024


def _rollup(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return []
