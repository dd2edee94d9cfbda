"""Deeds of the account API: users are made, changed, confirmed and removed there too."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tests.reliability.deeds.world import PASSWORD, Act, Deed, Request, World

AUTH = "/auth/v1"
LONG = "a fourth long secret"


def deeds() -> Iterator[tuple[str, Deed]]:
    yield f"POST {AUTH}/signup", Deed(sign_up, "nobody", ())
    yield f"PUT {AUTH}/user", Deed(change_oneself, "ada", ("nobody",))
    yield f"POST {AUTH}/admin/users", Deed(make_user)
    yield f"PUT {AUTH}/admin/users/{{uid}}", Deed(change_user)
    yield f"DELETE {AUTH}/admin/users/{{uid}}", Deed(partial(delete_user, soft=True))
    yield f"DELETE {AUTH}/admin/users/{{uid}} for good", Deed(partial(delete_user, soft=False))
    yield f"DELETE {AUTH}/admin/users/{{uid}} with transfers", Deed(anonymise, forgotten=True)
    yield f"POST {AUTH}/admin/generate_link", Deed(invite)
    yield f"POST {AUTH}/verify", Deed(verify, "nobody", (), by_link=True)
    yield f"GET {AUTH}/verify", Deed(follow, "nobody", (), by_link=True)
    yield f"POST {AUTH}/otp", Deed(send_otp, "nobody", ())
    yield f"POST {AUTH}/recover", Deed(recover, "nobody", (), kept=False)
    yield f"POST {AUTH}/resend", Deed(resend, "nobody", (), kept=False)
    yield f"POST {AUTH}/token", Deed(sign_in, "nobody", (), kept=False)
    yield f"POST {AUTH}/logout", Deed(log_out, "root", ("nobody",), kept=False)


async def sign_up(world: World) -> Act:
    body = {"email": f"{world.name()}@example.org", "password": LONG, "data": {"username": world.name("user")}}
    world.secrets.add(LONG)
    target = f"{AUTH}/signup"
    return Act(Request("POST", target, body), Request("POST", target, {**body, "email": "ada@example.org"}))


async def change_oneself(world: World) -> Act:
    """The password stays, so that the others know it; to set it is a change nevertheless."""
    body = {"data": {"colour": world.name()}}
    target = f"{AUTH}/user"
    return Act(Request("PUT", target, body), Request("PUT", target, {**body, "email": "bob@example.org"}))


async def make_user(world: World) -> Act:
    body = {"email": f"{world.name()}@example.org", "password": LONG, "email_confirm": True, "role": "author"}
    target = f"{AUTH}/admin/users"
    return Act(Request("POST", target, body), Request("POST", target, {**body, "email": "ada@example.org"}))


async def change_user(world: World) -> Act:
    target = f"{AUTH}/admin/users/{world.uids[await world.user()]}"
    body = {"email": f"{world.name()}@example.org", "password": LONG, "ban_duration": "1h", "app_metadata": {"a": 1}}
    return Act(Request("PUT", target, body), Request("PUT", target, {**body, "email": "ada@example.org"}))


async def delete_user(world: World, *, soft: bool) -> Act:
    key = await world.user()
    await world.post(user_id=key)
    bob, body = world.people["bob"], {"should_soft_delete": soft}
    targets = [f"{AUTH}/admin/users/{world.uids[user]}" for user in (key, bob)]
    return Act(Request("DELETE", targets[0], body), Request("DELETE", targets[1], body))


async def anonymise(world: World) -> Act:
    """Transfers keep the row of who made them, without a name."""
    key = await world.user()
    await world.done(Request("POST", "/rpc/grant", {"to_user_id": key, "amount": 3}))
    back = {"from_user_id": key, "to_user_id": world.people["bob"], "amount": 3}
    await world.done(Request("POST", "/rpc/transfer", back))
    targets = [f"{AUTH}/admin/users/{world.uids[user]}" for user in (key, world.people["bob"])]
    return Act(Request("DELETE", targets[0], {}), Request("DELETE", targets[1], {}))


async def invite(world: World) -> Act:
    body = {"type": "invite", "email": f"{world.name()}@example.org", "data": {"colour": "red"}}
    target = f"{AUTH}/admin/generate_link"
    return Act(Request("POST", target, body), Request("POST", target, {**body, "email": "ada@example.org"}))


async def _link(world: World) -> str:
    """The token of one who has never confirmed the address."""
    body = {"type": "invite", "email": f"{world.name()}@example.org"}
    made = await world.done(Request("POST", f"{AUTH}/admin/generate_link", body))
    token: str = made["hashed_token"]
    world.secrets |= {token, made["email_otp"] + '"'}
    return token


async def verify(world: World) -> Act:
    body, target = {"type": "invite", "token_hash": await _link(world)}, f"{AUTH}/verify"
    return Act(Request("POST", target, body), Request("POST", target, {**body, "token_hash": "0" * 64}))


async def follow(world: World) -> Act:
    query = f"{AUTH}/verify?type=invite&token="
    return Act(Request("GET", query + await _link(world)), Request("GET", f"{AUTH}/verify?type=nothing&token=0"))


async def send_otp(world: World) -> Act:
    target, body = f"{AUTH}/otp", {"email": f"{world.name()}@example.org", "data": {"colour": "red"}}
    return Act(Request("POST", target, body), Request("POST", target, {**body, "create_user": False}))


async def recover(world: World) -> Act:
    target = f"{AUTH}/recover"
    return Act(Request("POST", target, {"email": "ada@example.org"}), Request("POST", target, {"email": "nowhere"}))


async def resend(world: World) -> Act:
    target, body = f"{AUTH}/resend", {"type": "signup", "email": "ada@example.org"}
    return Act(Request("POST", target, body), Request("POST", target, {**body, "type": "nothing"}))


async def sign_in(world: World) -> Act:
    target, body = f"{AUTH}/token?grant_type=password", {"email": "ada@example.org", "password": PASSWORD}
    return Act(Request("POST", target, body), Request("POST", target, {**body, "password": "not that"}))


async def log_out(world: World) -> Act:
    return Act(Request("POST", f"{AUTH}/logout?scope=others", {}), Request("POST", f"{AUTH}/logout?scope=nothing", {}))
