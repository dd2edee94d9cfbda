"""docs/performance.md and its chart: the prose around the figures is the page's own, what stands between the marks is
written anew by each run of the full form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import chart
from bench.figures import Row, find, ratio
from bench.goals import GOALS, MEMORY, RATE, Goal
from bench.table import OURS, grid, number, spread
from bench.variants import VARIANTS

DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN, END = "<!-- figures: written by make bench -->", "<!-- end of the figures -->"


def write(machine: Mapping[str, Any], rows: Sequence[Row]) -> None:
    page = DOCS / "performance.md"
    page.write_text(placed(page.read_text(), figures(machine, rows)))
    (DOCS / "performance.svg").write_text(chart.draw(rows))


def placed(page: str, text: str) -> str:
    """The page with other figures between its marks. Raises ValueError where it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("docs/performance.md has lost the marks between which the figures stand")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def figures(machine: Mapping[str, Any], rows: Sequence[Row]) -> str:
    sections = [_measured_on(machine), "### Goals\n", _goals(rows)]
    for database, load in dict.fromkeys((row.database, row.load) for row in rows):
        sections += [f"### {load} on {database}\n", _load(rows, database, load)]
    return "\n\n".join(section.rstrip("\n") for section in sections)


def _measured_on(machine: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"Measured {machine['at'][:10]} on {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}; {machine['rounds']} rounds of {machine['seconds']:g} s, load average at the start "
        f"{machine['load_average'][0]}. Python {machine['python']}, SQLite {machine['sqlite']}, PostgreSQL "
        f"{machine['postgresql']}, {versions}."
    )


def _goals(rows: Sequence[Row]) -> str:
    head = ("load", "divided by", "required", "aim", "measured", "")
    return grid(head, [_goal(goal, rows) for goal in GOALS])


def _goal(goal: Goal, rows: Sequence[Row]) -> list[str]:
    sign = "<= " if goal.at_most else ""
    other = goal.theirs if goal.ours.variant == OURS else goal.ours
    by = other.variant if other.variant != OURS else other.load
    told = [goal.name, by, f"{sign}{goal.required:g}", f"{sign}{goal.aim:g}" if goal.aim is not None else ""]
    found = goal.reached(rows)
    if found is None:
        return [*told, "not measured", ""]
    return [*told, spread(found), "met" if goal.is_met(found) else "**missed**"]


def _load(rows: Sequence[Row], database: str, load: str) -> str:
    ours = find(rows, database, load, OURS)
    head = ["variant", "requests/s", "p50 ms", "p99 ms", "server CPU us", "database CPU us", "MiB", "Broadsheet is"]
    lines = [_row(row, ours) for row in rows if (row.database, row.load) == (database, load)]
    used = [n for n in range(len(head)) if n < 2 or any(cells[n] for cells in lines)]
    return grid([head[n] for n in used], [[cells[n] for n in used] for cells in lines])


def _row(row: Row, ours: Row | None) -> list[str]:
    if row.errors:
        reason = row.first_error.splitlines()[0][:120] if row.first_error else ""
        return [_name(row), f"failed: {reason}", "", "", "", "", "", ""]
    measure = MEMORY if row.median(MEMORY) else RATE  # where memory was measured, the rate is beside the point
    compared = None if row is ours else ratio(ours, row, measure)
    numbers = ("requests_per_second", "p50_ms", "p99_ms", "server_cpu_us", "database_cpu_us", "memory_mib")
    cells = [_figure(row.median(name)) for name in numbers]
    return [_name(row), *cells, "" if compared is None else spread(compared)]


def _name(row: Row) -> str:
    about = VARIANTS[row.variant].about if row.variant in VARIANTS else ""
    return f"{row.variant} (bound)" if about.startswith("bound") else row.variant


def _figure(value: float) -> str:
    if not value:
        return ""
    return f"{value:,.0f}" if value >= 100 else number(value)
