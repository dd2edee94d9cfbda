"""The rows of the benchmarks, made by a seeded generator: the same on every machine and for every peer. Pure.

rows = Rows(FULL)
rows.users(), rows.tags(), rows.posts(), rows.links()        dicts by column, in the order of their ids
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

Row = dict[str, Any]

SEED = 20261122
EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
BETWEEN = timedelta(minutes=5)  # from a post to the next: the newest of 100,000 is of December 2024
WORDS = 2_000  # of the vocabulary
CONTENT, TITLE = 150, 7  # words: about 1,000 and about 50 characters
PASSWORD = "correct horse battery staple"
# of PASSWORD, with the parameters of app/accounts/passwords.py (a test compares): everybody has the same one
PASSWORD_HASH = "$argon2id$v=19$m=19456,t=2,p=1$YnJvYWRzaGVldC1iZW5jaA$ZBgWoTeiTKLmFo2SPhHwPZUI8jMcq6o5NiBls3hHao8"

RICH = 1_000_000  # the balance of most accounts
HOT = 1  # the account that takes part in every transfer of the hot load
HOT_BALANCE = 1_000_000_000
POOR, POOR_BALANCE = 100, 5  # so many accounts, the last ones, have so little that many transfers must be refused


@dataclass(frozen=True, slots=True)
class Sizes:
    users: int
    posts: int
    tags: int


FULL = Sizes(users=5_000, posts=100_000, tags=500)
SMALL = Sizes(users=400, posts=3_000, tags=50)


class Rows:
    """Every method begins its own sequence, so that none depends on which was called before."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes

    def users(self) -> Iterator[Row]:
        chance = random.Random(SEED)
        for id in range(1, self.sizes.users + 1):
            yield {
                "id": id,
                "uid": UUID(int=chance.getrandbits(128), version=4),
                "email": email_of(id),
                "username": f"user{id}",
                "full_name": f"{chance.choice(WORD).capitalize()} {chance.choice(WORD).capitalize()}",
                "role": "author",
                "is_active": True,
                "balance": self.balance_of(id),
                "created_at": EPOCH,
                "updated_at": EPOCH,
                "version": 1,
            }

    def balance_of(self, user_id: int) -> int:
        if user_id == HOT:
            return HOT_BALANCE
        return POOR_BALANCE if user_id > self.sizes.users - POOR else RICH

    def credentials(self) -> Iterator[Row]:
        for id in range(1, self.sizes.users + 1):
            yield {"user_id": id, "hashed_password": PASSWORD_HASH, "changed_at": EPOCH}

    def grants(self) -> Iterator[Row]:
        """What the balances come from: the sum of an account's transfers is its balance."""
        for id in range(1, self.sizes.users + 1):
            yield {"id": id, "to_user_id": id, "amount": self.balance_of(id), "created_at": EPOCH}

    def tags(self) -> Iterator[Row]:
        for id in range(1, self.sizes.tags + 1):
            yield {"id": id, "name": tag_of(id), "created_at": EPOCH, "updated_at": EPOCH, "version": 1}

    def posts(self) -> Iterator[Row]:
        chance = random.Random(SEED + 1)
        for id in range(1, self.sizes.posts + 1):
            at = EPOCH + id * BETWEEN
            title = " ".join(chance.choices(WORD, k=TITLE))
            yield {
                "id": id,
                "user_id": chance.randint(1, self.sizes.users),
                "title": title.capitalize(),
                "slug": f"{title.replace(' ', '-')}-{id}",
                "content": text(chance),
                "status": "published",
                "published_at": at,
                "created_at": at,
                "updated_at": at,
                "version": 1,
            }

    def links(self) -> Iterator[Row]:
        """One to five tags a post, three on average; some tags are much more used than others."""
        chance = random.Random(SEED + 2)
        for id in range(1, self.sizes.posts + 1):
            wanted = chance.randint(1, 5)
            tags: set[int] = set()
            while len(tags) < wanted:
                tags.add(1 + int(self.sizes.tags * chance.random() ** 2))
            yield from ({"post_id": id, "tag_id": tag} for tag in sorted(tags))


def email_of(user_id: int) -> str:
    return f"user{user_id}@example.org"


def tag_of(tag_id: int) -> str:
    return f"{WORD[tag_id]}-{tag_id}"


def text(chance: random.Random) -> str:
    return " ".join(chance.choices(WORD, k=CONTENT))


def _vocabulary() -> list[str]:
    """Two to four syllables each."""
    chance = random.Random(SEED)
    syllables = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]
    words: dict[str, None] = {}
    while len(words) < WORDS:
        words["".join(chance.choices(syllables, k=chance.randint(2, 4)))] = None
    return list(words)


WORD = _vocabulary()
