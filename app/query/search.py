"""Full-text conditions: a query printed for either database, and the SQL around it.

Case is left to the databases, which fold the query as they fold the rows. There are no stop words and no stemming, so
that both find the same; `simple` and `english` are one configuration. The index is a generated column on PostgreSQL and
an FTS5 table on SQLite, made by migrations/search_objects.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Dialect,
    Subquery,
    Text,
    case,
    column,
    func,
    inspect,
    literal,
    literal_column,
    select,
    table,
)
from sqlalchemy.types import TypeDecorator

from app.query.fulltext import And, Not, Or, Phrase, Tree, tree_of

EVERY_ROW = "\ue000"  # the word that the index of SQLite has for every row, and that no query can hold


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """What is looked for; None is a query without any word, which finds nothing."""

    tree: Tree | None

    def tsquery_text(self) -> str:
        """For PostgreSQL's `to_tsquery('simple', ...)`."""
        return "" if self.tree is None else _tsquery(self.tree)

    def fts5_text(self) -> str:
        """For SQLite's MATCH."""
        return '""' if self.tree is None else _fts5(self.tree)


class SearchText(TypeDecorator[SearchQuery]):
    """The type of a bind that holds a SearchQuery, printed for the database that it goes to."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: SearchQuery | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return value.fts5_text() if dialect.name == "sqlite" else value.tsquery_text()


# ---- printing. Recursive: the parser bounds the depth ---------------------------------------------------------------


def _tsquery(tree: Tree) -> str:
    match tree:
        case Phrase(words, prefix):
            text = " <-> ".join(f"'{word}'" for word in words) + (":*" if prefix else "")
            return text if len(words) == 1 else f"({text})"
        case Not(term):
            return f"!{_tsquery(term)}"
        case And(terms):
            return f"({' & '.join(map(_tsquery, terms))})"
        case Or(terms):
            return f"({' | '.join(map(_tsquery, terms))})"


def _fts5(tree: Tree) -> str:
    """FTS5 has only `a NOT b`: what stands alone in front of a negation is EVERY_ROW."""
    match tree:
        case Phrase(words, prefix):
            return f'"{" ".join(words)}"' + (" *" if prefix else "")
        case Not(term):
            return f'("{EVERY_ROW}" NOT {_fts5(term)})'
        case And(terms):
            wanted = [_fts5(term) for term in terms if not isinstance(term, Not)] or [f'"{EVERY_ROW}"']
            unwanted = [_fts5(term.term) for term in terms if isinstance(term, Not)]
            found = f"({' AND '.join(wanted)})"
            return f"({found} NOT ({' OR '.join(unwanted)}))" if unwanted else found
        case Or(terms):
            return f"({' OR '.join(map(_fts5, terms))})"


def parse(operator: str, text: str, language: str | None) -> SearchQuery:
    """The operand of `fts`, `plfts`, `phfts` or `wfts`. Raises BadQuery."""
    return SearchQuery(tree_of(operator, text, language))


# ---- SQL ------------------------------------------------------------------------------------------------------------


def matches(
    entity: Any, name: str, key: ColumnElement[Any], query: ColumnElement[Any], *, sqlite: bool
) -> ColumnElement[bool]:
    """Whether a row of the table `name`, here the occurrence `entity`, is found. The search objects stand outside the
    MetaData.
    """
    if sqlite:
        index = table(f"{name}_fts", column("rowid"))
        return key.in_(select(index.c.rowid).where(_match(name, query)))
    return _found(inspect(entity).selectable.name, query)


def hits(name: str, key: str, first: str, query: ColumnElement[Any], *, sqlite: bool) -> Subquery:
    """The columns `key` and `rank` of every row that is found, whoever may see it; the lowest rank is the best.

    On SQLite rows that are found by their column `first` alone come before the others: its own rank, bm25, weighs words
    by how many rows have them, and so would tell of rows that the caller may not see. On PostgreSQL a word of `first`
    counts two and a half times another one.
    """
    if sqlite:
        index = table(f"{name}_fts", column("rowid"))
        by_first = select(index.c.rowid).where(_match(name, literal(f"{{{first}}} : ").concat(query)))
        rank = case((index.c.rowid.in_(by_first), 0), else_=1)
        found = select(index.c.rowid.label("key"), rank.label("rank")).where(_match(name, query))
        return found.subquery("hits")
    rows = table(name, column(key))
    worst_last = -func.ts_rank(_column(name), _to_tsquery(query))
    found = select(rows.c[key].label("key"), worst_last.label("rank")).select_from(rows)
    return found.where(_found(name, query)).subquery("hits")


def _match(name: str, query: ColumnElement[Any]) -> ColumnElement[bool]:
    return literal_column(f"{name}_fts").op("MATCH", is_comparison=True)(query)


def _found(occurrence: str, query: ColumnElement[Any]) -> ColumnElement[bool]:
    return _column(occurrence).op("@@", is_comparison=True)(_to_tsquery(query))


def _to_tsquery(query: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.to_tsquery(literal_column("'simple'"), query)


def _column(occurrence: str) -> ColumnElement[Any]:
    return literal_column(f"{occurrence}.search")
