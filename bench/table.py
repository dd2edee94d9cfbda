"""What is printed: a line for each row as it comes, and at the end how Broadsheet compares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.figures import Ratio, Row, find, ratio

OURS = "broadsheet"


def line(row: Row) -> str:
    name = f"{row.database:<10}  {row.load:<17}  {row.variant:<16}"
    if row.errors:
        return f"{name}  FAILED, {row.errors} errors, the first: {row.first_error}"
    rate = row.median("requests_per_second")
    parts = [f"{rate:>9,.1f} /s", f"p50 {row.median('p50_ms'):>8.2f} ms", f"p99 {row.median('p99_ms'):>8.2f} ms"]
    for who in ("server", "database", "client"):
        cost = row.median(f"{who}_cpu_us")
        parts.append(f"{who} {cost:>7,.0f} us ({cost * rate / 1e4:>3.0f} %)")
    if row.median("memory_mib"):
        parts.append(f"{row.median('memory_mib'):.0f} MiB")
    return f"{name}  {'  '.join(parts)}"


def ratios(rows: Sequence[Row]) -> str:
    """Requests per second of Broadsheet by those of each other, round by round: median, least and most."""
    told = []
    for database, load in dict.fromkeys((row.database, row.load) for row in rows):
        ours = find(rows, database, load, OURS)
        others = [row for row in rows if (row.database, row.load) == (database, load) and row.variant != OURS]
        compared = [f"{spread(found)} {row.variant}" for row in others if (found := ratio(ours, row)) is not None]
        if compared:
            told.append(f"{database} {load}: broadsheet is {', '.join(compared)}")
    return "\n".join(told)


def spread(found: Ratio) -> str:
    return f"{number(found.median)} x [{number(found.least)}..{number(found.most)}]"


def number(value: float) -> str:
    """With two digits that mean something."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def grid(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)
