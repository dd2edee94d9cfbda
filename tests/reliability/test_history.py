"""The checkers find each kind of wrong that a bank may do."""

from __future__ import annotations

import pytest

from tests.reliability.books import Books, Row, check_books, check_orders
from tests.reliability.history import History, Order, Seen, Sent, Verdict, check_order_of_time, check_sums
from tests.reliability.trial import Figures

OPENING = {1: 100, 2: 100}
GRANTS = [Row(1, None, 1, 100), Row(2, None, 2, 100)]
ORDER = Order(1, 2, 10, "a")
KEPT = Sent(0, ORDER, 1.0, 2.0, Verdict.KEPT, row=3)
REFUSED = Sent(0, ORDER, 1.0, 2.0, Verdict.REFUSED, "BRD605")
FAILED = Sent(0, ORDER, 1.0, 2.0, Verdict.FAILED, "40001")
UNKNOWN = Sent(0, ORDER, 1.0, 2.0, Verdict.UNKNOWN, "08007")
DONE = Row(3, 1, 2, 10)
BEFORE, AFTER = {1: 100, 2: 100}, {1: 90, 2: 110}


def seen(started: float, ended: float, balances: dict[int, int]) -> Seen:
    return Seen(1, started, ended, balances)


# ---- reads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("balances", "found"),
    [
        (BEFORE, []),
        ({1: 100, 2: 101}, ["client 1 saw a sum of 201, not 200"]),
        ({1: -1, 2: 201}, ["client 1 saw user 1 at -1"]),
    ],
)
def test_reads_sum_to_the_opening(balances: dict[int, int], found: list[str]) -> None:
    figures = Figures()
    check_sums(History(seen=[seen(0, 1, balances)]), OPENING, figures)
    assert figures.violations == found


@pytest.mark.parametrize(
    ("sent", "started", "ended", "balances", "holds"),
    [
        (KEPT, 0.1, 0.9, BEFORE, True),
        (KEPT, 0.1, 0.9, AFTER, False),  # from the future
        (KEPT, 1.1, 1.9, BEFORE, True),
        (KEPT, 1.1, 1.9, AFTER, True),
        (KEPT, 0.1, 2.5, AFTER, True),
        (KEPT, 2.1, 2.5, AFTER, True),
        (KEPT, 2.1, 2.5, BEFORE, False),  # stale
        (UNKNOWN, 2.1, 2.5, BEFORE, True),
        (UNKNOWN, 2.1, 2.5, AFTER, True),
        (UNKNOWN, 0.1, 0.9, AFTER, False),
        (REFUSED, 2.1, 2.5, AFTER, False),
        (FAILED, 2.1, 2.5, AFTER, False),
    ],
)
def test_reads_follow_the_order_of_time(
    sent: Sent, started: float, ended: float, balances: dict[int, int], holds: bool
) -> None:
    figures = Figures()
    check_order_of_time(History([sent], [seen(started, ended, balances)]), OPENING, figures)
    assert (figures.violations == []) is holds


# ---- books ----------------------------------------------------------------------------------------------------------


def books(
    *rows: Row, note: str = "a", balances: dict[int, int] = AFTER, unfinished: int = 0, damage: str = ""
) -> Books:
    return Books(balances, {None: GRANTS, note: list(rows)}, unfinished, (damage,) if damage else ())


@pytest.mark.parametrize(
    ("kept", "found"),
    [
        (books(DONE), []),
        (books(DONE, balances={1: 90, 2: 111}), ["in the end there are 201 credits, not 200"]),
        (books(DONE, balances={1: 91, 2: 109}), ["user 1 has 91, the transfers say 90"]),
        (books(Row(3, 1, 2, 110), balances={1: -10, 2: 210}), ["user 1 has -10"]),
        (books(DONE, unfinished=1), ["1 keys are still in progress"]),
        (books(DONE, damage="row 3 missing from index"), ["row 3 missing from index"]),
    ],
)
def test_books_balance(kept: Books, found: list[str]) -> None:
    figures = Figures()
    check_books(kept, OPENING, figures)
    assert figures.violations[: len(found)] == found
    assert bool(figures.violations) is bool(found)


@pytest.mark.parametrize(
    ("sent", "kept", "found"),
    [
        (KEPT, books(DONE), None),
        (KEPT, books(), "order a (kept) is lost"),
        (KEPT, books(DONE, Row(4, 1, 2, 10)), "order a (kept) was done 2 times"),
        (KEPT, books(Row(3, 1, 2, 11)), "order a (kept) was answered with row 3"),
        (KEPT, books(Row(4, 1, 2, 10)), "order a (kept) was answered with row 3"),
        (KEPT, books(Row(3, 2, 1, 10)), "order a (kept) was answered with row 3"),
        (REFUSED, books(), None),
        (REFUSED, books(DONE), "order a (refused) was done all the same"),
        (FAILED, books(), None),
        (FAILED, books(DONE), "order a (failed) was done all the same"),
        (UNKNOWN, books(), None),
        (UNKNOWN, books(DONE), None),
        (UNKNOWN, books(DONE, Row(4, 1, 2, 10)), "order a (unknown) was done 2 times"),
        (REFUSED, books(DONE, note="b"), "nobody ordered"),
    ],
)
def test_orders_have_the_effect_that_was_answered(sent: Sent, kept: Books, found: str | None) -> None:
    figures = Figures()
    check_orders(History([sent]), kept, figures)
    assert len(figures.violations) == (found is not None)
    assert found is None or figures.violations[0].startswith(found)
