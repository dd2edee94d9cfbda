"""The chart of docs/performance.md: requests per second of each variant under the main loads, as bars. SVG by hand,
which reads well on light and on dark pages. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bench.figures import Row
from bench.table import OURS
from bench.variants import LOGGED, VARIANTS

PANELS = (
    ("postgresql", "list-random", "PostgreSQL: 20 posts with author and tags, random pages"),
    ("postgresql", "one", "PostgreSQL: one post by random id"),
    ("postgresql", "create", "PostgreSQL: a new post with three tags"),
    ("postgresql", "transfer", "PostgreSQL: transfers between random accounts"),
    ("sqlite", "list-random", "SQLite: 20 posts with author and tags, random pages"),
    ("sqlite", "one", "SQLite: one post by random id"),
    ("sqlite", "create", "SQLite: a new post with three tags"),
)
WIDTH, BAR, STEP, HEAD, GAP = 760, 13, 18, 22, 14
LEFT, RIGHT = 150, 80  # room for names and for numbers
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 }
.ours { fill: #0969da } .peer { fill: #8c959f } .bound { fill: #d0d7de }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .ours { fill: #58a6ff } .peer { fill: #7d8590 } .bound { fill: #3d444d }
}
"""


def draw(rows: Sequence[Row]) -> str:
    parts: list[str] = []
    top = 8
    for database, load, title in PANELS:
        found = [row for row in rows if (row.database, row.load) == (database, load) and not row.errors]
        shown = [row for row in found if row.variant != LOGGED]
        if shown:
            parts += _panel(title, shown, top)
            top += HEAD + STEP * len(shown) + GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img">'
    described = "<title>Requests per second of Broadsheet, its peers and the bounds</title>"
    return "\n".join([head, described, f"<style>{STYLE}</style>", *parts, "</svg>", ""])


def _panel(title: str, rows: Sequence[Row], top: int) -> list[str]:
    """The longest bar fills the width."""
    most = max(row.median("requests_per_second") for row in rows)
    parts = [f'<text class="title" x="8" y="{top + 13}">{escape(title)}, requests/s</text>']
    for number, row in enumerate(rows):
        parts += _bar(row, most, top + HEAD + number * STEP)
    return parts


def _bar(row: Row, most: float, y: int) -> list[str]:
    rate = row.median("requests_per_second")
    width = round(rate / most * (WIDTH - LEFT - RIGHT), 1) if most else 0
    return [
        f'<text x="{LEFT - 8}" y="{y + 11}" text-anchor="end">{escape(row.variant)}</text>',
        f'<rect class="{_kind(row.variant)}" x="{LEFT}" y="{y}" width="{width}" height="{BAR}" rx="2"/>',
        f'<text x="{LEFT + width + 6}" y="{y + 11}">{rate:,.0f}</text>',
    ]


def _kind(variant: str) -> str:
    if variant == OURS:
        return "ours"
    return "bound" if variant in VARIANTS and VARIANTS[variant].about.startswith("bound") else "peer"
