"""The surfaces on which the same resources are served, each one value: what differs between them stands here alone."""

from __future__ import annotations

from dataclasses import dataclass

from app.data.rules import Principal, Role
from app.errors import BroadsheetError
from app.query.plan import Page
from app.settings import Limits


@dataclass(frozen=True, slots=True)
class Surface:
    """`returns` is what a write answers unless `Prefer: return=` says otherwise; `items` says whether there is
    `/{resource}/{id}`, and with it one object out for one object in.
    """

    name: str
    prefix: str
    returns: str
    items: bool

    def page(self, who: Principal, limits: Limits) -> Page:
        most = limits.page_service if who.role in (Role.SERVICE, Role.SYSTEM) else limits.page
        return Page(limits.page_plain if self.items else most, most)

    def status_of(self, error: BroadsheetError) -> int:
        if self.items and error.plain_status is not None:
            return error.plain_status
        return error.status


PLAIN = Surface("plain", "", returns="representation", items=True)
REST = Surface("rest", "/rest/v1", returns="minimal", items=False)
SURFACES = (REST, PLAIN)


def surface_at(path: str) -> Surface:
    """The surface to which a path belongs."""
    return REST if path == REST.prefix or path.startswith(REST.prefix + "/") else PLAIN
