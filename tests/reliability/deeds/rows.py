"""Deeds of the routes of resources and of functions, on either surface."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tests.reliability.deeds.world import Act, Deed, Request, World

STALE = {"if-match": '"999"'}
NOBODY = ("nobody",)
UPSERT = {"prefer": "resolution=merge-duplicates"}


def deeds(prefix: str) -> Iterator[tuple[str, Deed]]:
    """By method and path, as the description of the surface names them."""
    for name, deed in _collections(prefix):
        yield f"{name.partition(' ')[0]} {prefix}{name.partition(' ')[2]}", deed


def items() -> Iterator[tuple[str, Deed]]:
    """What the plain surface has besides."""
    yield "PATCH /posts/{id}", Deed(patch_post, "ada")
    yield "PUT /posts/{id}", Deed(put_post, "ada")
    yield "DELETE /posts/{id}", Deed(delete_post, "ada")
    yield "POST /posts/{id}/restore", Deed(restore_post, "ada")
    yield "POST /posts/{id}/revisions/{number}/restore", Deed(restore_text, "root")
    yield "PATCH /users/{id}", Deed(patch_user)
    yield "PATCH /users/{id} oneself", Deed(patch_self, "bob", NOBODY)
    yield "PUT /users/{id}", Deed(put_user, "root")
    yield "DELETE /users/{id}", Deed(delete_user, "root")
    yield "POST /users/{id}/restore", Deed(restore_user)
    yield "POST /users/{id}/revisions/{number}/restore", Deed(restore_person, "root")
    yield "PATCH /tags/{id}", Deed(patch_tag, kept=False)
    yield "PUT /tags/{id}", Deed(put_tag, kept=False)
    yield "DELETE /tags/{id}", Deed(delete_tag, "root")


def _collections(prefix: str) -> Iterator[tuple[str, Deed]]:
    yield "POST /posts", Deed(partial(post_posts, prefix), "ada")
    yield "POST /posts upsert", Deed(partial(upsert_posts, prefix), "ada")
    yield "PUT /posts", Deed(partial(put_posts, prefix))
    yield "PATCH /posts", Deed(partial(patch_posts, prefix), "ada")
    yield "DELETE /posts", Deed(partial(delete_posts, prefix), "ada")
    yield "POST /users", Deed(partial(post_users, prefix))
    yield "POST /users registering", Deed(partial(register, prefix), "nobody", ())
    yield "PUT /users", Deed(partial(put_users, prefix))
    yield "PATCH /users", Deed(partial(patch_users, prefix))
    yield "DELETE /users", Deed(partial(delete_users, prefix))
    yield "POST /tags", Deed(partial(post_tags, prefix), "ada", kept=False)
    yield "PUT /tags", Deed(partial(put_tags, prefix), kept=False)
    yield "PATCH /tags", Deed(partial(patch_tags, prefix), kept=False)
    yield "DELETE /tags", Deed(partial(delete_tags, prefix))
    yield "POST /rpc/transfer", Deed(partial(transfer, prefix), "bob", NOBODY)
    yield "POST /rpc/grant", Deed(partial(grant, prefix))
    yield "POST /rpc/balance_of", Deed(partial(look, prefix, "balance_of"), "bob", NOBODY, kept=False)
    yield "POST /rpc/statement", Deed(partial(look, prefix, "statement"), "bob", NOBODY, kept=False)
    yield "POST /rpc/dashboard", Deed(partial(look, prefix, "dashboard"), "bob", (), kept=False)
    yield "POST /rpc/search", Deed(partial(search, prefix), "bob", (), kept=False)
    yield "POST /batch", Deed(partial(batch, prefix), "root")


# ---- posts ----------------------------------------------------------------------------------------------------------


async def post_posts(prefix: str, world: World) -> Act:
    rows = [{"title": world.name(), "tags": ["one", world.name("tag")]}, {"title": world.name(), "tags": []}]
    taken = [*({**row, "slug": world.name()} for row in rows), {**rows[0], "slug": await world.slug()}]
    target = f"{prefix}/posts"
    return Act(Request("POST", target, rows), Request("POST", target, taken))


async def upsert_posts(prefix: str, world: World) -> Act:
    """One that is there, and one that is not."""
    rows = [{"title": world.name(), "slug": slug} for slug in (await world.slug(), world.name())]
    target = f"{prefix}/posts?on_conflict=slug"
    return Act(Request("POST", target, rows, UPSERT), Request("POST", target, [{"slug": world.name()}], UPSERT))


async def put_posts(prefix: str, world: World) -> Act:
    key = await world.post()
    target, row = f"{prefix}/posts?id=eq.{key}", {"id": key, "title": world.name(), "tags": ["three"]}
    return Act(Request("PUT", target, row), Request("PUT", target, {**row, "slug": await world.slug()}))


async def patch_posts(prefix: str, world: World) -> Act:
    target = f"{prefix}/posts?id=in.({await world.post()},{await world.post()})"
    body = {"content": world.name(), "tags": ["two", "three"]}
    return Act(Request("PATCH", target, body), Request("PATCH", target, {**body, "slug": await world.slug()}))


async def delete_posts(prefix: str, world: World) -> Act:
    target = f"{prefix}/posts?id=in.({await world.post()},{await world.post()})"
    return Act(Request("DELETE", target), Request("DELETE", target, headers=STALE))


async def patch_post(world: World) -> Act:
    target, row = f"/posts/{await world.post()}", {"title": world.name(), "status": "published", "tags": ["three"]}
    return Act(Request("PATCH", target, row), Request("PATCH", target, {**row, "slug": await world.slug()}))


async def put_post(world: World) -> Act:
    target, row = f"/posts/{await world.post(content='text')}", {"title": world.name(), "slug": world.name()}
    return Act(Request("PUT", target, row), Request("PUT", target, {**row, "slug": await world.slug()}))


async def delete_post(world: World) -> Act:
    target = f"/posts/{await world.post()}"
    return Act(Request("DELETE", target), Request("DELETE", target, headers=STALE))


async def restore_post(world: World) -> Act:
    slug, keys = world.name(), []
    for _ in range(2):
        keys.append(await world.post(slug=slug))
        await world.done(Request("DELETE", f"/posts/{keys[-1]}"))
    blocked = await world.post(slug=world.name())
    await world.done(Request("DELETE", f"/posts/{blocked}"))
    return Act(
        Request("POST", f"/posts/{keys[0]}/restore"), Request("POST", f"/posts/{blocked}/restore", headers=STALE)
    )


async def restore_text(world: World) -> Act:
    slug = world.name()
    key = await world.post(slug=slug, content="before")
    await world.done(Request("PATCH", f"/posts/{key}", {"content": "after", "slug": world.name(), "tags": ["three"]}))
    target = f"/posts/{key}/revisions/1/restore"
    return Act(Request("POST", target), Request("POST", target, headers=STALE))


# ---- users ----------------------------------------------------------------------------------------------------------


def _person(world: World) -> dict[str, object]:
    name = world.name("user")
    return {"username": name, "email": f"{name}@example.org", "full_name": "A B"}


async def post_users(prefix: str, world: World) -> Act:
    rows = [{**_person(world), "password": "another long secret"} for _ in range(2)]
    world.secrets.add("another long secret")
    taken = [rows[0], {**rows[1], "username": "ada"}]
    target = f"{prefix}/users"
    return Act(Request("POST", target, rows), Request("POST", target, taken))


async def register(prefix: str, world: World) -> Act:
    row = {**_person(world), "password": "another long secret"}
    target = f"{prefix}/users"
    return Act(Request("POST", target, row), Request("POST", target, {**row, "username": "ada"}))


async def put_users(prefix: str, world: World) -> Act:
    key = await world.user()
    target, row = f"{prefix}/users?id=eq.{key}", {"id": key, "full_name": "A B", "role": "author"}
    return Act(Request("PUT", target, row), Request("PUT", target, {**row, "username": "ada"}))


async def patch_users(prefix: str, world: World) -> Act:
    target = f"{prefix}/users?id=in.({await world.user()},{await world.user()})"
    body = {"full_name": "A B", "role": "author", "is_active": False}
    return Act(Request("PATCH", target, body), Request("PATCH", target, {**body, "username": world.name()}))


async def delete_users(prefix: str, world: World) -> Act:
    """One of them has a post, which goes along."""
    keys = [await world.user(), await world.user()]
    await world.post(user_id=keys[0])
    target = f"{prefix}/users?id=in.({keys[0]},{keys[1]})"
    return Act(Request("DELETE", target), Request("DELETE", f"{target[:-1]},{world.people['bob']})"))


async def patch_user(world: World) -> Act:
    target = f"/users/{await world.user()}"
    body = {"email": f"{world.name()}@example.org", "role": "author", "password": "a third long secret"}
    world.secrets.add("a third long secret")
    return Act(Request("PATCH", target, body), Request("PATCH", target, {**body, "username": "ada"}))


async def patch_self(world: World) -> Act:
    target = f"/users/{world.people['bob']}"
    body = {"full_name": world.name()}
    return Act(Request("PATCH", target, body), Request("PATCH", target, {**body, "username": "ada"}))


async def put_user(world: World) -> Act:
    target, body = f"/users/{await world.user(full_name='A')}", {"username": world.name()}
    return Act(Request("PUT", target, body), Request("PUT", target, {**body, "username": "ada"}))


async def delete_user(world: World) -> Act:
    key = await world.user()
    await world.post(user_id=key)
    return Act(Request("DELETE", f"/users/{key}"), Request("DELETE", f"/users/{world.people['bob']}"))


async def restore_user(world: World) -> Act:
    """One comes back with a post; the name of the other is taken."""
    key, name = await world.user(), world.name()
    await world.post(user_id=key)
    blocked = await world.user(username=name)
    for gone in (key, blocked):
        await world.done(Request("DELETE", f"/users/{gone}"))
    await world.user(username=name)
    return Act(Request("POST", f"/users/{key}/restore"), Request("POST", f"/users/{blocked}/restore"))


async def restore_person(world: World) -> Act:
    key = await world.user(full_name="before")
    await world.done(Request("PATCH", f"/users/{key}", {"full_name": "after", "email": None}))
    target = f"/users/{key}/revisions/1/restore"
    return Act(Request("POST", target), Request("POST", target, headers=STALE))


# ---- tags -----------------------------------------------------------------------------------------------------------


async def post_tags(prefix: str, world: World) -> Act:
    await world.post(tags=["one"])
    rows = [{"name": world.name()}, {"name": world.name()}]
    target = f"{prefix}/tags"
    return Act(Request("POST", target, rows), Request("POST", target, [*rows, {"name": "one"}]))


async def put_tags(prefix: str, world: World) -> Act:
    key = await world.tag()
    await world.post()
    target, row = f"{prefix}/tags?id=eq.{key}", {"id": key, "name": world.name()}
    return Act(Request("PUT", target, row), Request("PUT", target, {**row, "name": "one"}))


async def patch_tags(prefix: str, world: World) -> Act:
    await world.post()
    target = f"{prefix}/tags?id=eq.{await world.tag()}"
    return Act(Request("PATCH", target, {"name": world.name()}), Request("PATCH", target, {"name": "one"}))


async def delete_tags(prefix: str, world: World) -> Act:
    """Each is on a post of its own, and both on a third."""
    keys = [await world.tag(), await world.tag()]
    for tags in (keys[:1], keys[1:], keys):
        await world.post(tags=["one", *tags])
    target = f"{prefix}/tags?id=in.({keys[0]},{keys[1]})"
    return Act(Request("DELETE", target), Request("DELETE", target, headers=STALE))


async def patch_tag(world: World) -> Act:
    await world.post()
    target = f"/tags/{await world.tag()}"
    return Act(Request("PATCH", target, {"name": world.name()}), Request("PATCH", target, {"name": "one"}))


async def put_tag(world: World) -> Act:
    await world.post()
    target = f"/tags/{await world.tag()}"
    return Act(Request("PUT", target, {"name": world.name()}), Request("PUT", target, {"name": "one"}))


async def delete_tag(world: World) -> Act:
    key = await world.tag()
    await world.post(tags=["one", key])
    return Act(Request("DELETE", f"/tags/{key}"), Request("DELETE", f"/tags/{key}", headers=STALE))


# ---- functions, batches ---------------------------------------------------------------------------------------------


async def transfer(prefix: str, world: World) -> Act:
    body = {"to_user_id": world.people["ada"], "amount": 7, "note": "for coffee"}
    target = f"{prefix}/rpc/transfer"
    return Act(Request("POST", target, body), Request("POST", target, {**body, "amount": 10_000_000}))


async def grant(prefix: str, world: World) -> Act:
    body = {"to_user_id": world.people["bob"], "amount": 7}
    target = f"{prefix}/rpc/grant"
    return Act(Request("POST", target, body), Request("POST", target, {**body, "to_user_id": 999_999}))


async def look(prefix: str, name: str, world: World) -> Act:
    target = f"{prefix}/rpc/{name}"
    return Act(Request("POST", target, {}), Request("POST", target, {"nothing": 1}))


async def search(prefix: str, world: World) -> Act:
    target = f"{prefix}/rpc/search"
    return Act(Request("POST", target, {"q": "post"}), Request("POST", target, {}))


async def batch(prefix: str, world: World) -> Act:
    key, user = await world.post(), world.people["bob"]
    requests = [
        {"method": "POST", "path": "/posts", "body": {"title": world.name(), "user_id": user, "tags": ["two"]}},
        {"method": "PATCH", "path": f"/posts?id=eq.{key}", "body": {"content": world.name(), "tags": []}},
        {"method": "POST", "path": "/rpc/grant", "body": {"to_user_id": user, "amount": 3}},
        {"method": "DELETE", "path": f"/posts?id=eq.{await world.post()}"},
    ]
    target = f"{prefix}/batch"
    late = {"method": "POST", "path": "/tags", "body": {"name": "one"}}
    return Act(Request("POST", target, requests), Request("POST", target, [*requests, late]))
