"""The loads over HTTP: what each draws at random for a request, what a right answer is, how many connections ask.

Every variant gets the same draws in the same order. `dialects.py` makes requests of them. Imported by the load
generator, so it needs nothing but the standard library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.data import Sizes

Draw = tuple[int, ...]
Draws = Callable[[Random, "Sizes"], Draw]

CONNECTIONS = 32
TELLERS = 16  # connections of the loads with transfers
POOR = 100  # accounts, the last ones, that have next to nothing (data.py)
HOT = 1
PAGE = 20
DEPTH = 0.9  # of the posts: row 90,000 of 100,000
NOVELTY = 2**48  # titles of new posts never come twice


@dataclass(frozen=True, slots=True)
class Load:
    """`least` bytes of a right body: an answer without its rows is an error."""

    name: str
    about: str
    draw: Draws
    data: str = "blog"  # which of the databases that are kept
    writes: bool = False
    connections: int = CONNECTIONS
    accepted: tuple[int, ...] = (200,)
    least: int = 0
    trusted: bool = False  # asked with the key of a service, not by a visitor
    beside: str = ""  # loads of one name are measured round by round beside each other


def _nothing(chance: Random, sizes: Sizes) -> Draw:
    return ()


def _before(chance: Random, sizes: Sizes) -> Draw:
    return (chance.randint(sizes.posts // 10, sizes.posts),)


def _post(chance: Random, sizes: Sizes) -> Draw:
    return (chance.randint(1, sizes.posts),)


def _tag(chance: Random, sizes: Sizes) -> Draw:
    return (chance.randint(1, sizes.tags),)


def _user(chance: Random, sizes: Sizes) -> Draw:
    return (chance.randint(1, sizes.users),)


def _new_post(chance: Random, sizes: Sizes) -> Draw:
    """Author, something for the title that no other has, text, three tags."""
    tags = chance.sample(range(1, sizes.tags + 1), 3)
    return (chance.randint(1, sizes.users), chance.randrange(NOVELTY), chance.randrange(NOVELTY), *tags)


def _pair(chance: Random, first: int, last: int) -> Draw:
    sender, receiver = chance.sample(range(first, last + 1), 2)
    return sender, receiver, chance.randint(1, 100)


def _transfer(chance: Random, sizes: Sizes) -> Draw:
    return _pair(chance, HOT + 1, sizes.users - POOR)


def _transfer_hot(chance: Random, sizes: Sizes) -> Draw:
    _, other, amount = _pair(chance, HOT + 1, sizes.users - POOR)
    return (HOT, other, amount) if chance.random() < 0.5 else (other, HOT, amount)


def _transfer_low(chance: Random, sizes: Sizes) -> Draw:
    sender, receiver, _ = _pair(chance, sizes.users - POOR + 1, sizes.users)
    return sender, receiver, chance.randint(1, 5)


def _depth(chance: Random, sizes: Sizes) -> Draw:
    return (int(sizes.posts * DEPTH),)


def _depth_id(chance: Random, sizes: Sizes) -> Draw:
    """Ids are without gaps, so the row after N rows from the newest is known."""
    return (sizes.posts - int(sizes.posts * DEPTH) + 1,)


LIST = 10_000  # bytes: twenty posts of about a thousand

WRITES: dict[str, Any] = {"writes": True, "trusted": True, "accepted": (200, 201)}
TRANSFERS: dict[str, Any] = WRITES | {"data": "bank", "connections": TELLERS}
REFUSALS: dict[str, Any] = {"accepted": (200, 201, 409)}

LOADS = {
    load.name: load
    for load in (
        Load("list-same", "the newest 20 posts with author and tags", _nothing, least=LIST),
        Load("list-random", "20 posts with author and tags from a random place on", _before, least=LIST),
        Load("list-tag", "the newest 20 posts of a random tag, with author and all their tags", _tag, least=1000),
        Load("list-author", "the newest 20 posts of a random author, with author and tags", _user),
        Load("one", "one post by random id, with author and tags", _post, least=500),
        Load("create", "a new post with three tags, durable, shown", _new_post, **WRITES),
        Load("transfer", "credits between random accounts", _transfer, **TRANSFERS),
        Load("transfer-hot", "credits to or from one account", _transfer_hot, **TRANSFERS),
        Load("transfer-low", "credits between poor accounts, refusals too", _transfer_low, **(TRANSFERS | REFUSALS)),
        Load("sign-in", "a random user signs in with the password", _user, writes=True),
        Load("page-first", "the first page, one connection", _nothing, beside="pages", connections=1, least=LIST),
        Load(
            "page-deep-keyset",
            "the page at 9/10 of the rows by id",
            _depth_id,
            beside="pages",
            connections=1,
            least=LIST,
        ),
        Load("page-deep-offset", "the same page by offset", _depth, beside="pages", connections=1, least=LIST),
        Load("count", "how many posts there are", _nothing, connections=1, accepted=(200, 206)),
        Load("empty", "an answer that asks no database", _nothing),
    )
}
