"""What clients of the bank asked for and were told, and what follows from that for what they saw: the first half of the
checker, which asks no database.

A client has one order under way at a time, and all clients read the same clock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tests.reliability.trial import Figures

SHOWN = 5  # examples of each kind of violation


class Verdict(StrEnum):
    KEPT = "kept"  # acknowledged with the id of its row
    REFUSED = "refused"  # nothing was wrong with the service: no funds, no such account
    FAILED = "failed"  # the service could not, and says that nothing was kept
    UNKNOWN = "unknown"  # nobody has said what became of it


@dataclass(frozen=True, slots=True)
class Order:
    """A transfer that is asked for. Its note is its own, so its rows can be counted."""

    sender: int
    receiver: int
    amount: int
    note: str


@dataclass(frozen=True, slots=True)
class Sent:
    """An order from the first time that it was sent to the answer to the last. `answers` counts what was said before
    that by code, or by how the connection ended.
    """

    client: int
    order: Order
    started: float
    ended: float
    verdict: Verdict
    code: str = ""
    row: int | None = None
    replayed: bool = False
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """All balances, read in one statement."""

    client: int
    started: float
    ended: float
    balances: Mapping[int, int]


@dataclass(slots=True)
class History:
    sent: list[Sent] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    def of(self, verdict: Verdict) -> list[Sent]:
        return [each for each in self.sent if each.verdict is verdict]

    def times(self) -> list[float]:
        """Milliseconds that transfers took which were kept, in ascending order."""
        return sorted((each.ended - each.started) * 1000 for each in self.of(Verdict.KEPT))


def some(figures: Figures, found: list[str]) -> None:
    """Each is a violation; of many alike a few are shown."""
    figures.violations += found[:SHOWN]
    if len(found) > SHOWN:
        figures.violations.append(f"... and {len(found) - SHOWN} more like the last")


# ---- what was seen --------------------------------------------------------------------------------------------------


def check_sums(history: History, opening: Mapping[int, int], figures: Figures) -> None:
    """Every read sums to what the bank was opened with, and shows no balance below zero."""
    total = sum(opening.values())
    sums = [(each, sum(each.balances.values())) for each in history.seen]
    some(figures, [f"client {each.client} saw a sum of {found}, not {total}" for each, found in sums if found != total])
    below = [(each, user, balance) for each in history.seen for user, balance in each.balances.items() if balance < 0]
    some(figures, [f"client {each.client} saw user {user} at {balance}" for each, user, balance in below])


def check_order_of_time(history: History, opening: Mapping[int, int], figures: Figures) -> None:
    """A read shows each transfer that was acknowledged before it began, and none that was sent after it ended: every
    balance lies between what those make of it that were under way meanwhile.
    """
    moves = _Moves(history)
    late = []
    for seen in sorted(history.seen, key=lambda each: each.started):
        done, pending = moves.around(seen)
        for user, balance in seen.balances.items():
            certain = opening[user] + done[user]
            least = certain + sum(change for change in pending[user] if change < 0)
            most = certain + sum(change for change in pending[user] if change > 0)
            if not least <= balance <= most:
                late.append(f"client {seen.client} saw user {user} at {balance}, not in {least}..{most}")
    some(figures, late)


class _Moves:
    """The transfers that happened or may have, for reads in the order in which they began."""

    def __init__(self, history: History) -> None:
        happened = [each for each in history.sent if each.verdict in (Verdict.KEPT, Verdict.UNKNOWN)]
        self.kept = sorted((each for each in happened if each.verdict is Verdict.KEPT), key=lambda each: each.ended)
        self.unknown = [each for each in happened if each.verdict is Verdict.UNKNOWN]
        self.of_client: dict[int, list[Sent]] = defaultdict(list)
        for each in self.kept:
            self.of_client[each.client].append(each)
        self.done: Counter[int] = Counter()
        self.at = 0

    def around(self, seen: Seen) -> tuple[Mapping[int, int], Mapping[int, list[int]]]:
        """What transfers that were over when the read began changed in each account, and what those may have changed
        that were under way.
        """
        while self.at < len(self.kept) and self.kept[self.at].ended < seen.started:
            order = self.kept[self.at].order
            self.done[order.sender] -= order.amount
            self.done[order.receiver] += order.amount
            self.at += 1
        pending: dict[int, list[int]] = defaultdict(list)
        for each in self._under_way(seen):
            pending[each.order.sender].append(-each.order.amount)
            pending[each.order.receiver].append(each.order.amount)
        return self.done, pending

    def _under_way(self, seen: Seen) -> Iterator[Sent]:
        yield from (each for each in self.unknown if each.started <= seen.ended)
        for mine in self.of_client.values():
            first = bisect_left(mine, seen.started, key=lambda each: each.ended)
            for each in mine[first:]:
                if each.started > seen.ended:
                    break
                yield each
