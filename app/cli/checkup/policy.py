"""The check that no table is forgotten: each is a resource with a rule, or stands among those that nobody is served."""

from __future__ import annotations

from collections.abc import Collection

from app.cli.checkup.finding import Finding, fine, refusal
from app.data.catalog import Catalog
from app.resources import PRIVATE

NEVER_SERVED = frozenset(model.__tablename__ for model in PRIVATE)


def policy(catalog: Catalog, tables: Collection[str], never_served: Collection[str] = NEVER_SERVED) -> Finding:
    served = {resource.name for resource in catalog}
    bare = [f"{r.name}.{column}" for r in catalog for column in r.columns if column not in r.rule.columns]
    faults = {
        "has no rule": [name for name in tables if name not in served and name not in never_served],
        "is served, and is on the list of those that never are": [name for name in never_served if name in served],
        "has no entry in its rule": bare,
    }
    found = [f"{name} {fault}" for fault, names in faults.items() for name in sorted(names)]
    if found:
        return refusal("policy", ", ".join(found), "see docs/extending.md")
    return fine("policy", f"{len(served)} tables have a rule for every column, {len(never_served)} are never served")
