"""What the tests of embeds multiply: each NULL test, `!inner` and related order puts the embed's filters into the SQL
once more, and those may test embeds again. 800 bytes of a query string can so ask for a million terms.
"""

from __future__ import annotations

from collections.abc import Iterator

from app.query.lexing import too_many
from app.query.plan import Cond, Group, Has, Node, Term


def refuse_costly(node: Node, most: int) -> None:
    """Raises BadQuery for a plan whose tests of embeds have more than `most` terms in all."""
    if _terms(node)[1] > most:
        too_many("terms in tests of embeds", most)


def _terms(node: Node) -> tuple[int, int]:
    """The terms that one test of this node has, and those of all tests in its statement and the statements below it."""
    below = [_terms(kid.node) for kid in node.kids]
    found = [leaf for term in node.where for leaf in _leaves(term)]
    tested = [leaf.kid for leaf in found if isinstance(leaf, Has)]
    tested += [i for i, kid in enumerate(node.kids) if kid.inner]
    ordered = [term.kid for term in node.order if term.kid >= 0]
    once = sum(1 + below[kid][0] for kid in tested)
    lifted = sum(1 + below[kid][0] for kid in ordered)
    return len(found) + once, once + lifted + sum(total for _, total in below)


def _leaves(term: Term) -> Iterator[Cond | Has]:
    if isinstance(term, Group):
        for inner in term.terms:
            yield from _leaves(inner)
    else:
        yield term
