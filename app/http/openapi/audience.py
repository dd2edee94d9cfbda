"""For whom a description is made: one view of one catalog on one surface. What this view may not read or write is not
described.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.data.catalog import Catalog, Resource
from app.data.rules import Owned, Role
from app.http.surfaces import Surface
from app.query.history import sees_revisions
from app.settings import Limits


@dataclass(frozen=True, slots=True)
class Audience:
    """`key_needed` says that even reading takes a key."""

    catalog: Catalog
    view: Role
    surface: Surface
    limits: Limits
    key_needed: bool = False

    def resources(self) -> list[Resource]:
        """Those of which this view may read a column, by name."""
        return [resource for resource in sorted(self.catalog, key=lambda r: r.name) if self.columns(resource)]

    def columns(self, resource: Resource) -> tuple[str, ...]:
        return resource.rule.readable(self.view)

    def writable(self, resource: Resource, *, new: bool = False) -> list[str]:
        """Columns that a payload may hold, in the rule's order."""
        writes = resource.rule.writes(self.view, new=new)
        return [name for name in resource.rule.columns if name in writes]

    def inserts(self, resource: Resource) -> bool:
        return self.view in resource.rule.inserts

    def changes(self, resource: Resource) -> bool:
        return bool(resource.rule.writes(self.view))

    def removes(self, resource: Resource) -> bool:
        return self.view in resource.rule.removes

    def tells_history(self, resource: Resource) -> bool:
        """Whether the view may see revisions of some of its rows, by the rule of revisions."""
        return resource.rule.revised and sees_revisions(self.catalog, self.view)

    def required(self, resource: Resource) -> list[str]:
        """Fields without which there is no new row: columns that are NOT NULL, without a default, and not filled in by
        the rule; and of who joins, what only a new row may bring into a one-to-one table.
        """
        columns, rule = resource.columns, resource.rule
        needed = [
            name
            for name in self.writable(resource, new=True)
            if not columns[name].nullable and not columns[name].has_default and name not in rule.fills
        ]
        joining = rule.writes(self.view, new=True) - rule.writes(self.view)
        return needed + [
            name for name, (kind, _) in sorted(rule.extra.items()) if isinstance(kind, Owned) and name in joining
        ]

    def null(self, resource: Resource, name: str) -> bool:
        """Whether a row may show NULL: the column has it, or the view sees it masked."""
        return resource.columns[name].nullable or resource.rule.mask(name, self.view) is not None
