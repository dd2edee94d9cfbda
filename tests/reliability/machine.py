"""The machine of the stateful model: which requests come after one another, chosen by hypothesis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from app.data.rules import Principal
from tests.reliability.blog import asks
from tests.reliability.blog.batches import batch
from tests.reliability.blog.play import SECRET, Disagreement, Play, Request, Stage
from tests.reliability.blog.state import Row, State
from tests.reliability.blog.values import ROLES, STATUSES

Strategy = st.SearchStrategy[Any]


def mostly(*usual: Any, seldom: Any) -> Strategy:
    """One of ten is the other one."""
    return st.sampled_from([*(usual[at % len(usual)] for at in range(9)), seldom])


CALLERS = st.sampled_from(("author",) * 4 + ("admin",) * 3 + ("secret", "secret", "other", "member", "anonymous"))
NUMBERS = st.integers(0, asks.LAST)
MATCHES = mostly("no", "current", "any", seldom="old")
VERSIONS = mostly(None, seldom=1)
TIMES = (None, "2025-06-01T00:00:00+00:00", "2026-01-01T12:00:20+00:00", "2027-01-01T00:00:00+00:00")
TAGS = st.lists(st.sampled_from(("x", "y", "z", " z  z ", "w", 1, 2)), max_size=3) | mostly(
    ["x"], seldom=["y", 900, ""]
)
TITLES = mostly("A", "A 2", "B", " \u00dcber\tuns ", "A", "A 3", "B 2", seldom="t" * 201)
SLUGS = mostly("a", "a-2", "b", "B", "c", "d", seldom="no slug")
USERNAMES = mostly("dan", "eve", "Fay ", "gil", "hal", "ian", "ada", "bob", seldom="-")
EMAILS = mostly(None, "ada@example.org", "Bob@example.org", "eve@example.org", seldom="nowhere")

TAG_NAMES = mostly("x", "y", " z  z ", "w", "v", "u", "t", "s", seldom="")
NEW_NAMES = mostly("x", "v", "u", "q", seldom=None)
TABLES = st.sampled_from(("posts", "posts", "users"))
AMOUNTS = mostly(1, 3, 5, 5, 10, seldom=0)

POST: dict[str, Strategy] = {
    "title": TITLES,
    "slug": SLUGS,
    "content": mostly("", "text", seldom=None),
    "status": mostly(*STATUSES, "published", seldom="lost"),
    "published_at": st.sampled_from(TIMES),
    "tags": TAGS,
    "user_id": NUMBERS,
}
USER: dict[str, Strategy] = {
    "username": USERNAMES,
    "email": EMAILS,
    "full_name": mostly(None, "", " A  B ", seldom="n" * 101),
    "role": mostly(*ROLES, seldom="king"),
    "is_active": mostly(True, seldom=False),
}


def some(fields: Mapping[str, Strategy], *needed: str) -> Strategy:
    """A row with the fields that are `needed`, and any of the others."""
    return st.fixed_dictionaries(
        {name: fields[name] for name in needed}, optional={n: fields[n] for n in fields if n not in needed}
    )


POSTS = st.lists(some(POST, "title", "user_id"), min_size=1, max_size=2)
WHOLE_POST = some(POST, "title", "user_id", "slug") | some(POST)
MEETING = st.lists(some(POST, "title", "user_id", "slug") | some(POST, "title", "user_id"), min_size=1, max_size=2)
VERSION = {"table": TABLES, "row": NUMBERS, "version": NUMBERS}
FILTERS = st.one_of(
    st.tuples(st.just("id"), st.lists(NUMBERS, min_size=1, max_size=3)),
    st.tuples(st.just("status"), st.sampled_from(STATUSES)),
    st.tuples(st.just("user_id"), NUMBERS),
    st.tuples(st.just("version"), st.integers(1, 3)),
)


@dataclass(frozen=True, slots=True)
class Ask:
    """A kind of request and what it is chosen from. `writes` may be undone at the caller's wish."""

    make: Callable[..., Request]
    arguments: Mapping[str, Strategy]
    writes: bool = True


ASKS = {
    "create_posts": Ask(asks.create_posts, {"rows": POSTS, "single": st.booleans()}),
    "upsert_posts": Ask(asks.upsert_posts, {"rows": MEETING, "single": st.booleans(), "merge": st.booleans()}),
    "patch_post": Ask(asks.patch_post, {"post": NUMBERS, "row": some(POST), "match": MATCHES}),
    "put_post": Ask(asks.put_post, {"post": NUMBERS, "row": WHOLE_POST, "match": MATCHES}),
    "delete_post": Ask(asks.delete_post, {"post": NUMBERS, "match": MATCHES}),
    "patch_posts": Ask(asks.patch_posts, {"chosen": FILTERS, "row": some(POST), "version": VERSIONS}),
    "delete_posts": Ask(asks.delete_posts, {"chosen": FILTERS, "version": VERSIONS}),
    "read_post": Ask(asks.read_post, {"post": NUMBERS}, writes=False),
    "read_posts": Ask(asks.read_posts, {"deleted": st.booleans()}, writes=False),
    "create_tag": Ask(asks.create_tag, {"name": TAG_NAMES}),
    "rename_tag": Ask(asks.rename_tag, {"tag": NUMBERS, "name": NEW_NAMES, "match": MATCHES}),
    "delete_tag": Ask(asks.delete_tag, {"tag": NUMBERS, "match": MATCHES}),
    "create_users": Ask(asks.create_users, {"rows": st.lists(some(USER, "username"), min_size=1, max_size=2)}),
    "patch_user": Ask(asks.patch_user, {"user": NUMBERS, "row": some(USER), "match": MATCHES}),
    "put_user": Ask(asks.put_user, {"user": NUMBERS, "row": some(USER, "username"), "match": MATCHES}),
    "delete_user": Ask(asks.delete_user, {"user": NUMBERS, "match": MATCHES}),
    "restore_row": Ask(asks.restore_row, {"table": TABLES, "row": NUMBERS, "match": MATCHES}),
    "restore_version": Ask(asks.restore_version, {**VERSION, "match": MATCHES}),
    "read_version": Ask(asks.read_version, VERSION, writes=False),
    "read_revisions": Ask(asks.read_revisions, {"table": TABLES, "row": NUMBERS}, writes=False),
    "transfer": Ask(asks.transfer, {"sender": NUMBERS, "receiver": NUMBERS, "amount": AMOUNTS}),
    "grant": Ask(asks.grant, {"receiver": NUMBERS, "amount": mostly(10, 5, 10, seldom=2**53 - 1)}),
    "read_balance": Ask(asks.read_balance, {"user": st.none() | NUMBERS}, writes=False),
    "read_user": Ask(asks.read_user, {"user": NUMBERS}, writes=False),
}  # fmt: skip


def _batch(state: State, who: Principal, parts: list[tuple[str, dict[str, Any]]]) -> Request:
    """Requests that know nothing of each other."""
    return batch([ASKS[name].make(state, who, **arguments) for name, arguments in parts])


PARTS = [st.tuples(st.just(name), st.fixed_dictionaries(dict(ask.arguments))) for name, ask in ASKS.items()]
ASKS["batch"] = Ask(_batch, {"parts": st.lists(st.one_of(PARTS), min_size=1, max_size=3)})

PEOPLE: list[Row] = [
    {"username": "root", "role": "admin", "email": "root@example.org"},
    {"username": "ada", "role": "author", "email": "ada@example.org"},
    {"username": "bob", "role": "author", "email": None},
    {"username": "cat", "role": "member", "email": None},
]
TEXTS: list[Row] = [
    {"user_id": 2, "title": "One", "status": "published", "tags": ["x", "y"]},
    {"user_id": 2, "title": "Two", "tags": ["x"]},
    {"user_id": 3, "title": "Three", "status": "published"},
]
CREDITS = ((2, 10), (4, 5))


@dataclass(frozen=True, slots=True)
class Step:
    """What the machine chose: a request of ASKS, who asks, whether it is kept."""

    name: str
    caller: str
    keep: bool
    arguments: Mapping[str, Any]


def begin(stage: Stage) -> Play:
    """A run with four users, some credits and three posts, made by one batch."""
    play = Play(stage)
    given = [asks.create_users(play.state, SECRET, PEOPLE)]
    given += [asks.create_posts(play.state, SECRET, [row], single=True) for row in TEXTS]
    given += [asks.granted(user, amount) for user, amount in CREDITS]
    play.step("begin", SECRET, batch(given))
    return play


def take(play: Play, step: Step) -> None:
    """Raises Disagreement."""
    ask, who = ASKS[step.name], play.caller(step.caller)
    play.step(step.name, who, ask.make(play.state, who, **step.arguments), keep=step.keep or not ask.writes)


class BlogMachine(RuleBasedStateMachine):
    """Leaves the steps of a failed run in `failed`."""

    def __init__(self, stage: Stage, failed: list[Step]) -> None:
        super().__init__()
        self.play = begin(stage)
        self.steps: list[Step] = []
        self.failed = failed

    def take(self, step: Step) -> None:
        self.steps.append(step)
        try:
            take(self.play, step)
        except Disagreement:
            self.failed[:] = self.steps
            raise


def shortest(stage: Stage, steps: list[Step]) -> Disagreement | None:
    """What is left of a failed run when every step is taken out without which it still fails: hypothesis would first
    make each of them simpler.
    """
    found, at = fails(stage, steps), len(steps)
    while found is not None and at > 0:
        at -= 1
        rest = steps[:at] + steps[at + 1 :]
        if (other := fails(stage, rest)) is not None:
            found, steps = other, rest
    return found


def fails(stage: Stage, steps: list[Step]) -> Disagreement | None:
    try:
        play = begin(stage)
        for step in steps:
            take(play, step)
    except Disagreement as disagreement:
        return disagreement
    return None


def _rule_of(name: str, ask: Ask) -> Any:
    def asked(self: BlogMachine, caller: str, keep: bool, **arguments: Any) -> None:
        self.take(Step(name, caller, keep, arguments))

    asked.__name__ = name
    keeps = st.sampled_from((True,) * 7 + (False,))  # one write of eight is undone
    given: dict[str, Any] = {"caller": CALLERS, "keep": keeps, **ask.arguments}
    made: Any = rule
    return made(**given)(asked)


for name, ask in ASKS.items():
    setattr(BlogMachine, name, _rule_of(name, ask))
