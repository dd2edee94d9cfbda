"""Which route a path belongs to, found without trying them all: those of resources come last, and are asked for most.

Refuses nothing itself: where no route of a path's kind takes it, Starlette's router decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.routing import BaseRoute, Match, Route, Router
from starlette.types import Lifespan, Receive, Scope, Send


class Routes(Router):
    """The same routes in the same order. A path is tried against those alone that begin with its first segment, or with
    a parameter, and have as many segments.
    """

    def __init__(self, routes: Sequence[BaseRoute], lifespan: Lifespan[Any]) -> None:
        # redirecting to another number of slashes would build a URL from the caller's Host header
        super().__init__(routes, redirect_slashes=False, lifespan=lifespan)
        depths = range(1, 2 + max(depth_of(route) or 0 for route in routes))
        firsts = {first_of(route) for route in routes} | {None}
        self._kinds = {(first, depth): self._of_kind(first, depth) for first in firsts for depth in depths}

    def _of_kind(self, first: str | None, depth: int) -> list[BaseRoute]:
        return [route for route in self.routes if first_of(route) in (None, first) and depth_of(route) in (None, depth)]

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        for route in self._candidates(scope):
            match, found = route.matches(scope)
            if match is Match.FULL:
                scope["route"] = route
                scope.update(found)
                await route.handle(scope, receive, send)
                return
        await super().app(scope, receive, send)

    def _candidates(self, scope: Scope) -> Sequence[BaseRoute]:
        if scope["type"] != "http" or scope.get("root_path"):
            return ()
        path: str = scope["path"]
        depth = path.count("/")
        found = self._kinds.get((path[1:].partition("/")[0], depth))
        return self._kinds.get((None, depth), ()) if found is None else found


def first_of(route: BaseRoute) -> str | None:
    """The first segment of its paths; None where that is a parameter."""
    first: str = getattr(route, "path", "/{any}")[1:].partition("/")[0]
    return None if "{" in first else first


def depth_of(route: BaseRoute) -> int | None:
    """How many segments its paths have; None where the number is not fixed, as for what is mounted."""
    if not isinstance(route, Route) or any(converter.regex == ".*" for converter in route.param_convertors.values()):
        return None
    return route.path.count("/")
