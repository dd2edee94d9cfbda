"""`python -m bench`: measures Broadsheet beside its peers, prints tables, writes `bench/results.json`.

    python -m bench                                    everything; writes docs/performance.md and its chart too
    python -m bench --quick                            whether the benchmarks work: small, short, two peers
    python -m bench --only list-same --variants broadsheet --database postgresql

Times are never asserted. Exit code 1 where a variant errs, answers with other rows than the others, or leaves behind
what its answers did not say.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import figures, machine, parse, report, table
from bench.contest import Contest, Plan
from bench.data import FULL, SMALL
from bench.figures import Row
from bench.importing import LOAD as IMPORT
from bench.importing import Importing
from bench.loads import LOADS
from bench.processes import Cores
from bench.servers import PEERS_PYTHON
from bench.starting import MEMORY, START, Starting
from bench.store import Backend, Busy, Store, open_store
from bench.variants import PEERS, VARIANTS

RESULTS = Path(__file__).resolve().with_name("results.json")
ALL_LOADS = (*LOADS, IMPORT, START, MEMORY)
QUICK_LOADS = ("list-same", "list-random", "one", "create", "transfer")
QUICK_VARIANTS = ("broadsheet", "fastapi-async", "pocketbase")
SPREAD_LOADS = ("list-random", "one", "create")  # these are measured with a process for each core as well
SPREAD_VARIANTS = ("broadsheet", "fastapi-async")
PARSE = 0.3  # seconds a row


def main(arguments: Sequence[str] | None = None) -> int:
    options = read(arguments)
    if not PEERS_PYTHON.exists() and any(name in PEERS for name in options.variants):
        print("the peers are not installed: `make bench` and `make bench-quick` do that", file=sys.stderr)
        return 1
    cores = Cores.of_machine()
    os.sched_setaffinity(0, cores.client)  # what is started from here stays there, but for the servers
    plan = plan_of(options)
    rows: list[Row] = []
    about = machine.describe(plan, cores)
    try:
        with open_store(SMALL if options.quick else FULL, cores, kept=not options.quick) as store:
            for row in measure(store, plan, cores, options):
                rows.append(row)
                print(table.line(row), flush=True)
                figures.write(RESULTS, about, rows)
            if options.whole:
                report.write(about | {"postgresql": store.cluster.version()}, rows)
    except Busy as exc:
        print(exc, file=sys.stderr)
        return 1
    print(table.ratios(rows))
    if options.quick:
        print(parse.run(PARSE))
    return 1 if any(row.errors for row in rows) else 0


def measure(store: Store, plan: Plan, cores: Cores, options: argparse.Namespace) -> Iterator[Row]:
    variants = [VARIANTS[name] for name in options.variants]
    for name in options.database:
        backend = Backend(name)
        yield from Contest(store, backend, plan, cores).run([LOADS[n] for n in options.only if n in LOADS], variants)
        if IMPORT in options.only:
            yield from Importing(store, backend, cores).run(plan.rounds, options.variants)
        if {START, MEMORY} & set(options.only):
            yield from Starting(store, backend, plan, cores).run(options.only, variants)
    if options.whole:
        spread = Plan(plan.rounds, plan.seconds, plan.warmup, workers=len(cores.all))
        both = [VARIANTS[name] for name in SPREAD_VARIANTS]
        yield from Contest(store, Backend.POSTGRESQL, spread, cores).run([LOADS[n] for n in SPREAD_LOADS], both)


def read(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures Broadsheet beside its peers.")
    add = parser.add_argument
    add("--quick", action="store_true", help="the short form: does everything work")
    add("--only", nargs="+", metavar="LOAD", choices=ALL_LOADS, help=f"of {', '.join(ALL_LOADS)}")
    add("--variants", nargs="+", metavar="NAME", choices=VARIANTS, help=f"of {', '.join(VARIANTS)}")
    add("--database", nargs="+", choices=list(map(str, Backend)), help="both unless one is named")
    add("--rounds", type=int)
    add("--seconds", type=float, help="that each round measures")
    add("--workers", type=int, default=1, help="processes of each server, on all cores if more than one")
    options = parser.parse_args(arguments)
    options.whole = not (options.quick or options.only or options.variants or options.database)
    options.only = options.only or (QUICK_LOADS if options.quick else ALL_LOADS)
    options.variants = options.variants or (QUICK_VARIANTS if options.quick else tuple(VARIANTS))
    options.database = options.database or tuple(Backend)
    return options


def plan_of(options: argparse.Namespace) -> Plan:
    rounds, seconds, warmup = (1, 0.5, 0.1) if options.quick else (5, 2.0, 0.5)
    return Plan(options.rounds or rounds, options.seconds or seconds, warmup, options.workers, at_once=options.quick)


if __name__ == "__main__":
    sys.exit(main())
