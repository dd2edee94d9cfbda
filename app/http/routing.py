"""Which route a path belongs to, found without trying them all: those of resources come last, and are asked for most.

Refuses nothing itself: where no route of a path's kind takes it, Starlette's router decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from starlette.routing import BaseRoute, Match, Route, Router
from starlette.types import Lifespan, Receive, Scope, Send

PARAMETER = "{}"


class Candidate(NamedTuple):
    """A route with the segments that its paths must have besides the first: their places and their texts."""

    places: list[int]
    texts: list[str]
    route: BaseRoute


class Routes(Router):
    """The same routes in the same order. A path is tried against those alone that have its first segment, or a
    parameter there, and as many segments.
    """

    def __init__(self, routes: Sequence[BaseRoute], lifespan: Lifespan[Any]) -> None:
        # redirecting to another number of slashes would build a URL from the caller's Host header
        super().__init__(routes, redirect_slashes=False, lifespan=lifespan)
        firsts = {segments_of(route)[1] for route in routes} | {PARAMETER}
        depths = range(1 + max(len(segments_of(route)) for route in routes))
        self._kinds = {(first, depth): self._of_kind(first, depth) for first in firsts for depth in depths}

    def _of_kind(self, first: str, depth: int) -> list[Candidate]:
        found = []
        for route in self.routes:
            segments = segments_of(route)
            if segments[1] not in (PARAMETER, first) or (is_fixed(route) and len(segments) != depth):
                continue
            fixed = [(at, text) for at, text in enumerate(segments) if is_fixed(route) and at > 1 and text != PARAMETER]
            found.append(Candidate([at for at, _ in fixed], [text for _, text in fixed], route))
        return found

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        for route in self._candidates(scope):
            match, found = route.matches(scope)
            if match is Match.FULL:
                scope["route"] = route
                scope.update(found)
                await route.handle(scope, receive, send)
                return
        await super().app(scope, receive, send)

    def _candidates(self, scope: Scope) -> list[BaseRoute]:
        if scope["type"] != "http" or scope.get("root_path"):
            return []
        segments = scope["path"].split("/")
        depth = len(segments)
        kind = self._kinds.get((segments[1], depth)) if depth > 1 else None
        if kind is None:
            kind = self._kinds.get((PARAMETER, depth), [])
        return [route for places, texts, route in kind if [segments[at] for at in places] == texts]


def segments_of(route: BaseRoute) -> list[str]:
    """Of its path, or of what comes before one of its paths; the first is empty, as that of every path."""
    path: str = getattr(route, "path", "/{any}")
    return [PARAMETER if "{" in segment else segment for segment in path.split("/")]


def is_fixed(route: BaseRoute) -> bool:
    """Whether all its paths have as many segments as it shows."""
    return isinstance(route, Route) and all(c.regex != ".*" for c in route.param_convertors.values())
