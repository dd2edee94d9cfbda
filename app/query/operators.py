"""The operators of filters, as a table that the parser, the plan, the documentation and the tests read. Source: dialect
1.8.

How each becomes SQL stands in `conditions.py`; a test holds the two tables together.
"""

from __future__ import annotations

from dataclasses import dataclass

WORDS = ("null", "not_null", "true", "false", "unknown")


@dataclass(frozen=True, slots=True)
class Operator:
    """`takes`: a `value`, a `list` in parentheses, one of WORDS (`word`), a `pattern` or a `search`. `quantified` ones
    also take `(any)` and `(all)` with an array. `sql` is the name that PostgreSQL's errors give it.
    """

    name: str
    sql: str
    meaning: str
    example: str
    takes: str = "value"
    quantified: bool = False


OPERATORS: dict[str, Operator] = {
    op.name: op
    for op in (
        Operator("eq", "=", "equals", "status=eq.published", quantified=True),
        Operator("neq", "<>", "differs", "status=neq.draft"),
        Operator("gt", ">", "is greater", "id=gt.10", quantified=True),
        Operator("gte", ">=", "is greater or equal", "id=gte.10", quantified=True),
        Operator("lt", "<", "is less", "id=lt.10", quantified=True),
        Operator("lte", "<=", "is less or equal", "published_at=lte.now()", quantified=True),
        Operator("like", "~~", "matches a pattern: `*` any characters, `_` one", "title=like.*async*", "pattern", True),
        Operator("ilike", "~~*", "the same, whatever the case", "title=ilike.*async*", "pattern", True),
        Operator("match", "~", "matches a regular expression somewhere", "title=match.^A", "pattern", True),
        Operator("imatch", "~*", "the same, whatever the case", "title=imatch.^a", "pattern", True),
        Operator("in", "=", "is one of a list; quotes protect commas", 'title=in.("a,b",c)', "list"),
        Operator("is", "IS", "is null, not_null, true, false or unknown", "published_at=is.null", "word"),
        Operator("isdistinct", "IS DISTINCT FROM", "differs, NULL being a value", "full_name=isdistinct.Ada"),
        Operator("fts", "@@", "full text: words with `&`, `|`, `!`", "search=fts.async|django", "search"),
        Operator("plfts", "@@", "full text: all of these words", "search=plfts.async loops", "search"),
        Operator("phfts", "@@", "full text: these words in a row", "search=phfts.event loop", "search"),
        Operator(
            "wfts", "@@", 'full text as typed: words, "phrases", -without', 'search=wfts."event loop" -django', "search"
        ),
    )
}

# Operators of types that no model has: refused by name, so that nobody takes them for a typing error.
REFUSED = frozenset(("cs", "cd", "ov", "sl", "sr", "nxl", "nxr", "adj"))
