"""Upsert of posts by slug: rows that are there and seen are changed or left alone, the others are made. One that is not
seen keeps its place all the same; what gives way to it may have made its tags before.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.reliability.blog.posts import Expected, fields_of, insert_posts, refuse_reader, revise
from tests.reliability.blog.refusing import Refusal, body, denied, refuse
from tests.reliability.blog.showing import sees_post, show_post, writes_post
from tests.reliability.blog.state import Row, State, Unit
from tests.reliability.blog.values import check, cleaned, slug_of

Given = list[tuple[str | None, Row]]  # the slug by which a row meets one that is there, and the row


def upsert(state: State, unit: Unit, rows: Sequence[Row], *, single: bool, merge: bool) -> Expected:
    refuse_reader(unit)
    for number, row in enumerate(rows, start=1):
        refuse(check(fields_of(unit), row), f"row {number}: " if len(rows) > 1 else "")
    given = _once([(_slug(row), row) for row in rows], merge=merge)
    met = _met(state, unit, given)
    if merge and any(not writes_post(row, unit) for row in met.values()):
        raise denied("posts", unit)
    done: dict[int, Row] = {}
    if merge:
        done |= zip(met, revise(state, unit, [(old, given[number][1]) for number, old in met.items()]), strict=True)
    rest = [number for number in range(len(given)) if number not in met]
    made = insert_posts(state, unit, [given[number][1] for number in rest], giving_way=not merge)
    done |= {number: row for number, row in zip(rest, made, strict=True) if row is not None}
    return _answer(state, unit, [done[number] for number in sorted(done)], single=single, new=bool(rest) or not merge)


def _answer(state: State, unit: Unit, rows: Sequence[Row], *, single: bool, new: bool) -> Expected:
    shown = [show_post(state, row, unit) for row in rows]
    status = 201 if new else 200
    return Expected(status, shown[0], rows[0]["version"]) if single and shown else Expected(status, shown)


def _slug(row: Row) -> str | None:
    return cleaned({"slug": row["slug"]}, slug=slug_of)["slug"] if "slug" in row else None


def _met(state: State, unit: Unit, given: Given) -> dict[int, Row]:
    there = {row["slug"]: row for row in state.present("posts") if sees_post(row, unit)}
    return {number: there[slug] for number, (slug, _) in enumerate(given) if slug in there}


def _once(given: Given, *, merge: bool) -> Given:
    """Of rows with one slug the first counts. They cannot both be merged."""
    slugs = [slug for slug, _ in given]
    first = [pair for at, pair in enumerate(given) if pair[0] is None or pair[0] not in slugs[:at]]
    if merge and len(first) < len(given):
        hint = "Ensure that no rows proposed for insertion within the same command have duplicate constrained values."
        message = "ON CONFLICT DO UPDATE command cannot affect row a second time"
        raise Refusal(422, body("21000", message, None, hint))
    return first
