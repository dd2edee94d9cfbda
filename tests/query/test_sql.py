"""The compiled SQL texts: the rule stands at each occurrence of a table, no text of a caller's is in them, and equal
shapes share one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import and_

from app.data.catalog import Catalog, Resource
from app.data.database import Database
from app.data.rules import ANONYMOUS, VIEWS, Principal, Role, Scope, user
from app.models import Post, User
from app.policy import RULES
from app.query.compiler import Compiler, Part
from app.query.driver import Binds, Lru
from app.resources import CATALOG
from tests.conftest import EPOCH
from tests.query.asking import LIMITS, Asker, plan, texts
from tests.query.rows import DAY, a_post, a_user, fill

OCCURRENCE = re.compile(r"(\w+) AS (\w+)")
TABLES = {"users", "posts", "tags", "post_tags", "transfers", "revisions", "events"}


@pytest.fixture
def compiler(database: Database) -> Compiler:
    return Compiler(CATALOG, database.dialect, LIMITS)


def compiled(compiler: Compiler, request: str, view: Role) -> Part:
    return compiler.read(plan(request, view).node, view)


def every_request(view: Role) -> Iterator[str]:
    """Each table with each of its relations, and each of theirs, plain and paged."""
    for name in CATALOG.readable(view):
        resource = CATALOG.get(name)
        assert resource is not None
        below = []
        for relation, target in CATALOG.embeddable(resource, view).items():
            far = CATALOG.embeddable(CATALOG.of(target.target), view)
            below.append(f"{relation}(*,{','.join(f'{n}(*)' for n in far)})")
            yield f"{name}?select=*,{below[-1]}"
            yield f"{name}?select=*,{below[-1]}&{relation}.limit=1&{relation}.offset=1&limit=1"
        yield f"{name}?select=*"


def rules_of(table: str, t: str, view: Role) -> list[str]:
    """What must stand in the text for one occurrence `t` of a table."""
    value = r"(?:\?|\$\d+(?:::[A-Z ]+[A-Z])?)"
    public = rf"{t}\.status = {value} AND {t}\.published_at <= {value}"
    own = rf"SELECT CAST\((posts_\d+)\.id .*\1\.user_id = {value}"
    match table, view:
        case "users", _:
            return [rf"{t}\.deleted_at IS NULL"]
        case "posts", Role.ADMIN:
            return [rf"{t}\.deleted_at IS NULL"]
        case "posts", Role.AUTHOR:
            return [rf"\({public} OR {t}\.user_id = {value}\)", rf"{t}\.deleted_at IS NULL"]
        case "posts", _:
            return [public, rf"{t}\.deleted_at IS NULL"]
        case "post_tags", _:
            return [rf"EXISTS \(SELECT posts_\d+\.id\s+FROM posts AS posts_\d+\s+WHERE posts_\d+\.id = {t}\.post_id"]
        case "transfers", Role.ANONYMOUS:
            return [rf"(WHERE|AND) ({value} = 1|{value})[\s)]"]  # a constant, false
        case "transfers", Role.MEMBER | Role.AUTHOR:
            return [rf"{t}\.from_user_id = {value} OR {t}\.to_user_id = {value}"]
        case "revisions", Role.AUTHOR:
            return [rf"{t}\.table_name = {value} AND \(?{t}\.row_id IN \({own}"]
    return []


@pytest.mark.parametrize("view", VIEWS)
def test_the_rule_stands_at_each_occurrence_of_a_table(compiler: Compiler, view: Role) -> None:
    seen = set()
    for request in every_request(view):
        for sql in texts(compiled(compiler, request, view)):
            for table, name in OCCURRENCE.findall(sql):
                if table not in TABLES or is_a_link(sql, name) or is_unruled(sql, name, view):
                    continue
                seen.add(table)
                for rule in rules_of(table, name, view):
                    assert re.search(rule, sql, re.DOTALL), (request, rule, sql)
    assert seen == set(CATALOG.readable(view))


def is_a_link(sql: str, name: str) -> bool:
    """The junction of a many-to-many embed: its far side has the rule."""
    return bool(re.search(rf"\b{name}\.(tag_id|post_id) = t\d+\.id", sql))


def is_unruled(sql: str, name: str, view: Role) -> bool:
    """An author's own posts are looked up for revisions of deleted ones too."""
    return view is Role.AUTHOR and f"CAST({name}.id" in sql


@pytest.mark.parametrize("view", VIEWS)
def test_an_anonymous_callers_text_depends_on_no_id(compiler: Compiler, view: Role) -> None:
    """It holds no way round its rule, whatever the binds say."""
    for request in every_request(view):
        part = compiled(compiler, request, view)
        values = plan(request, view).values
        nobody, somebody = (arguments(part, values, Binds(me, EPOCH)) for me in (-1, 7))
        if view is Role.ANONYMOUS:
            assert nobody == somebody


def arguments(part: Part, values: tuple[Any, ...], binds: Binds) -> list[Any]:
    here = part.prepared.statement(values, binds, [1, 2]).args
    return [here, *(arguments(kid, values, binds) for kid, _ in part.kids)]


MARKED = [
    'posts?select=MARKER1:title,MARKER2:tags(MARKER3:name)&title=eq.MARKER4&MARKER2.name=in.(MARKER5,"MARKER6\'--")',
    "posts?select=id,t:tags(name)&t.name=not.eq.MARKER&t.order=name&t.limit=31337&limit=313&offset=31338&t.offset=31339",
    'posts?select="MARKER; DROP TABLE posts":id&title=not.in.(");MARKER")&content=eq.$1 MARKER ? :me',
    "users?email=eq.MARKER&username=in.(MARKER)&select=id,email",
]


@pytest.mark.parametrize("request_", MARKED)
@pytest.mark.parametrize("view", VIEWS)
def test_no_text_of_a_caller_is_in_the_sql(compiler: Compiler, request_: str, view: Role) -> None:
    for sql in texts(compiled(compiler, request_, view)):
        assert "MARKER" not in sql
        assert "313" not in sql
        assert "DROP" not in sql


SAME = [
    ("posts?id=eq.1", "posts?id=eq.2"),
    ("posts?title=in.()", "posts?title=in.(a,b,c)"),
    ("posts?select=id,tags(name)&tags.limit=1", "posts?select=id,tags(name)&tags.limit=9"),
    ("posts?limit=1&offset=1", "posts?limit=2&offset=5"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_equal_shapes_share_one_compiled_text(compiler: Compiler, one: str, other: str) -> None:
    first = compiled(compiler, one, Role.MEMBER)
    assert compiled(compiler, other, Role.MEMBER) is first
    again = Compiler(CATALOG, compiler.dialect, LIMITS)
    assert texts(compiled(again, other, Role.MEMBER)) == texts(first)


def test_embeds_are_shared_between_roots(compiler: Compiler) -> None:
    ((tags, _),) = compiled(compiler, "posts?select=id,tags(name)", Role.MEMBER).kids
    assert compiled(compiler, "posts?select=title,tags(name)&order=title", Role.MEMBER).kids[0][0] is tags
    assert compiled(compiler, "posts?select=id,tags(name)", Role.AUTHOR).kids[0][0] is not tags


def test_compiled_shapes_are_bounded(database: Database) -> None:
    compiler = Compiler(CATALOG, database.dialect, replace(LIMITS, shapes=3))
    for i in range(6):
        compiled(compiler, f"posts?select=a{i}:id,tags(b{i}:id)", Role.MEMBER)
    assert (len(compiler.shapes), len(compiler.embeds)) == (3, 3)


def test_the_least_recently_used_entry_goes_first() -> None:
    cache: Lru[int] = Lru(2)
    cache.store("a", 1)
    cache.store("b", 2)
    assert cache.hit("a") == 1
    cache.store("c", 3)
    assert (cache.hit("b"), cache.hit("a"), cache.hit("c")) == (None, 1, 3)


@pytest.mark.parametrize("who", [ANONYMOUS, user(7)])
def test_columns_are_fetched_once(compiler: Compiler, who: Principal) -> None:
    """Also where an embed needs the column that is shown, and where two keys show one column."""
    sql = compiled(compiler, "posts?select=user_id,u:user_id,author(id),b:author(id)", who.view).prepared.sql
    assert sql.partition("FROM")[0].count("user_id") == 1


async def test_a_rule_may_name_constants_of_any_type(database: Database) -> None:
    """Each in its driver's form, alone and as a list."""

    def visible(post: Any, scope: Scope) -> Any:
        days = [EPOCH - DAY, EPOCH]
        return and_(post.status.in_(["published", "draft"]), post.published_at.in_(days), post.created_at <= EPOCH)

    rules = RULES | {Post: replace(RULES[Post], visible=visible)}
    catalog = Catalog([Resource(model, rule) for model, rule in rules.items()])
    posts = [a_post(1, 1), a_post(2, 1, status="archived"), a_post(3, 1, published_at=EPOCH - 2 * DAY)]
    await fill(database, {User: [a_user(1)], Post: posts})
    assert await Asker(database, catalog)(ANONYMOUS, "posts?select=id") == [{"id": 1}]
