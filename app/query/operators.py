"""The operators of filters, as a table that the parser, the compiler, the documentation and the tests read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Operator:
    """`sql` is how PostgreSQL names it in errors; `takes_list` says that the operand is a list in parentheses."""

    name: str
    sql: str
    takes_list: bool = False
    meaning: str = ""


OPERATORS: dict[str, Operator] = {
    op.name: op
    for op in (
        Operator("eq", "=", meaning="equals"),
        Operator("in", "=", takes_list=True, meaning="is one of a list"),
    )
}

# Words of the dialect that are refused by name, so that nobody takes them for a typing error.
KNOWN_ELSEWHERE = frozenset(
    [
        "neq",
        "gt",
        "gte",
        "lt",
        "lte",
        "like",
        "ilike",
        "match",
        "imatch",
        "is",
        "isdistinct",
        "fts",
        "plfts",
        "phfts",
        "wfts",
        "cs",
        "cd",
        "ov",
        "sl",
        "sr",
        "nxl",
        "nxr",
        "adj",
    ]
)
