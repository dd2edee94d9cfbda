"""The table of the account API's paths."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.routing import BaseRoute, Mount, Route, Router

from app.accounts.service import Accounts
from app.accounts.wire import about, admin, links, mailing, own_user, signing_in
from app.accounts.wire.asking import Call, Handler, Wire
from app.accounts.wire.refused import METHODS, no_storage, refused_calls

PREFIX = "/auth/v1"

Calls = Mapping[str, dict[str, Handler]]

CALLS: Calls = {
    "/signup": {"POST": signing_in.sign_up},
    "/token": {"POST": signing_in.token},
    "/user": {"GET": own_user.show_user, "PUT": own_user.change_user},
    "/logout": {"POST": own_user.log_out},
    "/recover": {"POST": mailing.recover},
    "/otp": {"POST": mailing.send_otp},
    "/resend": {"POST": mailing.resend},
    "/admin/users": {"GET": admin.list_users, "POST": admin.create_user},
    "/admin/users/{uid}": {"GET": admin.show_user, "PUT": admin.change_user, "DELETE": admin.delete_user},
    "/admin/generate_link": {"POST": admin.generate_link},
}
OPEN: Calls = {  # without a key, even where one is required
    "/verify": {"GET": links.follow, "POST": links.verify},
    "/.well-known/jwks.json": {"GET": about.public_keys},
    "/health": {"GET": about.health},
    "/settings": {"GET": about.settings},
}


def account_routes(accounts: Accounts) -> list[BaseRoute]:
    """To come before the routes of resources."""
    routes = [*_routes(CALLS), *_routes(OPEN, open_=True), *_routes(refused_calls(), open_=True)]
    storage = Route("/storage/v1/{rest:path}", no_storage, methods=METHODS, name="storage")
    return [Mount(PREFIX, app=Wire(Router(routes, redirect_slashes=False), accounts)), storage]


def _routes(calls: Calls, *, open_: bool = False) -> list[Route]:
    return [Route(path, Call(handlers, open_=open_), name=f"auth{path}") for path, handlers in calls.items()]
