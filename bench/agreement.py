"""Before a load is measured: do all servers answer with the same rows? One that does not is not compared."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

from bench.data import Sizes
from bench.dialects import DIALECTS, normal, requests_of
from bench.loads import LOADS
from bench.processes import Failed
from bench.servers import Server

SAMPLES = 3
LISTS: tuple[str, ...] = ("list-same", "list-random", "list-tag", "list-author", "one")
LISTS += ("page-first", "page-deep-keyset", "page-deep-offset")


def disagreements(load: str, servers: Iterable[Server], sizes: Sizes) -> dict[str, str]:
    """By variant, what is wrong with its answers; the first server that answers is the measure."""
    if load not in LISTS:
        return {}
    expected: list[Any] | None = None
    found: dict[str, str] = {}
    for server in servers:
        try:
            rows = answers(load, server, sizes)
        except Failed as exc:
            found[server.variant.name] = str(exc)
            continue
        expected = expected or rows
        if told := difference(expected, rows):
            found[server.variant.name] = told
    return found


def answers(load: str, server: Server, sizes: Sizes) -> list[Any]:
    """Comparable rows of a few requests. Raises Failed."""
    chance = Random(1)
    ask = requests_of(server.variant.dialect, load)
    assert ask is not None, f"{server.variant.name} has no {load}"
    rows: list[Any] = []
    for _ in range(SAMPLES):
        request = ask(LOADS[load].draw(chance, sizes))
        body = server.ask(request)
        rows.append([normal(item) for item in DIALECTS[server.variant.dialect].items(body)])
    return rows


def difference(expected: list[Any], rows: list[Any]) -> str:
    """The first one between comparable rows, or nothing."""
    for wanted, given in zip(expected, rows, strict=True):
        if [item["id"] for item in wanted] != [item["id"] for item in given]:
            return f"other rows: {[item['id'] for item in given]}, not {[item['id'] for item in wanted]}"
        for one, other in zip(wanted, given, strict=True):
            for name in one:
                if one[name] != other[name]:
                    return f"another {name} of {one['id']}: {other[name]!r}, not {one[name]!r}"
    return ""
