"""Batches in the model: all of their requests or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tests.reliability.blog.play import Request
from tests.reliability.blog.posts import Expected
from tests.reliability.blog.refusing import Refusal
from tests.reliability.blog.state import State, Unit


def batch(requests: Sequence[Request]) -> Request:
    def predict(state: State, unit: Unit) -> Expected:
        """They are one unit of work, so they share its time and see what those before them did."""
        parts = []
        for number, request in enumerate(requests):
            try:
                parts.append(request.predict(state, replace(unit, fresh=unit.fresh.part(number))))
            except Refusal as refusal:
                raise _at(number, refusal) from None
        return Expected(200, parts=tuple(parts))

    return Request("POST", "/batch", predict, {"requests": [_single(request) for request in requests]})


def _single(request: Request) -> dict[str, object]:
    single: dict[str, object] = {"method": request.method, "path": request.target, "headers": request.headers}
    return single if request.body is None else single | {"body": request.body}


def _at(number: int, refusal: Refusal) -> Refusal:
    bodies = [body | {"message": f"requests[{number}]: {body['message']}"} for body in refusal.bodies]
    return Refusal(refusal.status, *bodies)
