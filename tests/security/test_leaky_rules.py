"""The comparison of two worlds finds what it is there for: with one rule that says too much, some answer differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from app.actions import ACTIONS
from app.data.catalog import Catalog
from app.data.database import Database
from app.data.rules import EVERYONE, Column, Rule, everything
from app.models import Event, Post, PostTag, Revision, Transfer, User
from app.resources import CATALOG
from app.settings import Settings
from tests.security.asking import answers, installation, leaks, settled
from tests.security.callers import KINDS, Kind
from tests.security.pokes import pokes
from tests.security.probes import Question, reads
from tests.security.worlds import World, worlds

SEED, REQUESTS = 2, 20

Faulty = Callable[[Rule], Rule]


def columns(**changed: Column) -> Faulty:
    return lambda rule: replace(rule, columns={**rule.columns, **changed})


def fields(**changed: Any) -> Faulty:
    return lambda rule: replace(rule, **changed)


def served(rule: Rule) -> Rule:
    return replace(rule, visible=everything, columns=dict.fromkeys(rule.columns, Column(EVERYONE)))


FAULTS: dict[str, tuple[str, type[Any], Faulty]] = {
    "drafts": ("nobody", Post, fields(visible=everything)),
    "deleted posts of others": ("author", Post, fields(owned=everything)),
    "masked column": ("member", User, columns(email=Column(EVERYONE))),
    "mask of another row": ("member", User, columns(balance=Column(EVERYONE, unmasked=lambda row, scope: row.id > 0))),
    "column of admins": ("nobody", User, columns(role=Column(EVERYONE))),
    "column of the account API": ("author", User, columns(banned_until=Column(EVERYONE))),
    "links of hidden posts": ("publishable key", PostTag, fields(visible=everything)),
    "transfers of others": ("member", Transfer, fields(visible=everything)),
    "revisions of others": ("author's key", Revision, fields(visible=everything)),
    "columns inside revisions": ("author", Revision, fields(maps_columns=None)),
    "events": ("member", Event, served),
}


def faulty(model: type[Any], fault: Faulty) -> Catalog:
    return Catalog(replace(r, rule=fault(r.rule) if r.model is model else r.rule) for r in CATALOG)


class Leaky:
    """A service whose catalog is another one, beside the right one, by which callers sign in to both."""

    def __init__(self, settings: Settings, database: Database, hashed: str, url: str) -> None:
        self.settings = settings
        self.database = database
        self.hashed = hashed
        self.url = url

    async def leaks(self, kind: Kind, catalog: Catalog, ask: Callable[[tuple[World, World]], list[Question]]) -> int:
        """How many answers differ."""
        both = worlds(SEED, kind, self.hashed)
        asked, told = ask(both), []
        async with (
            Database(self.url, catalog, clock=self.database.clock) as other,
            installation(self.settings, self.database) as here,
            installation(self.settings, other, catalog=catalog, actions=ACTIONS) as there,
        ):
            for world in both:
                told.append(await answers(there, await settled(here, kind, world), asked))
        return len(leaks(asked, *told))


@pytest.fixture
def leaky(settings: Settings, database: Database, hashed: str, database_url: str) -> Leaky:
    return Leaky(settings, database, hashed, database_url)


ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@ON_SQLITE
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_rule_that_says_too_much_is_found(leaky: Leaky, fault: str) -> None:
    name, model, change = FAULTS[fault]
    kind = KINDS[name]
    r = Random(f"{SEED} {name}")
    assert await leaky.leaks(kind, faulty(model, change), lambda both: reads(r, both, kind, REQUESTS))


@ON_SQLITE
async def test_a_hidden_row_that_answers_a_write_is_found(leaky: Leaky) -> None:
    kind, catalog = KINDS["author"], faulty(Post, fields(visible=everything))
    assert await leaky.leaks(kind, catalog, lambda both: pokes(Random(SEED), both, kind, REQUESTS))


@ON_SQLITE
async def test_without_a_fault_nothing_is_found(leaky: Leaky) -> None:
    """In the same rules, copied."""
    kind, catalog = KINDS["author"], faulty(Post, lambda rule: rule)
    assert await leaky.leaks(kind, catalog, lambda both: reads(Random(SEED), both, kind, 10)) == 0
