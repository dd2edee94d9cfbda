"""What is exposed: resources (a mapped class and its rule), their columns, keys and relations. Catalogs are values;
every layer takes one.

Building a catalog refuses what the machinery cannot serve: a column without an entry in the rule, a type that
`query/values.py` does not know, composite foreign keys, custom join conditions, attributes named unlike their columns.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Table, inspect, or_
from sqlalchemy.orm import Mapper, RelationshipDirection, RelationshipProperty, configure_mappers
from sqlalchemy.types import TypeEngine

from app.data.base import Audited, Base, SoftDeleted, Timestamps, Versioned
from app.data.rules import Links, Role, Rule, Scope

RESERVED = frozenset(
    ["auth", "rest", "rpc", "health", "metrics", "docs", "openapi.json", "realtime", "storage", "admin", "batch"]
)  # first path segments that the service keeps for itself


@dataclass(frozen=True)
class ColumnInfo:
    """One column of a resource: its type, whether NULL is allowed, whether a payload may leave it out."""

    name: str
    type: TypeEngine[Any]
    nullable: bool
    has_default: bool


@dataclass(frozen=True)
class Relation:
    """One embeddable relation: `local` on the parent equals `remote` on the far side, or on the junction table
    `secondary`.
    """

    name: str
    target: type[Base]
    to_many: bool
    cardinality: str
    local: str
    remote: str
    secondary: Table | None = None
    near: str = ""  # junction column that holds the parent's key
    far: str = ""  # junction column that holds the target's key
    label: str = ""  # how PGRST201 describes it
    constraint: str = ""  # the foreign key's, or the junction's name
    names: frozenset[str] = frozenset()  # constraints, columns and junction by which a hint may name it


@dataclass(frozen=True)
class Resource:
    """A mapped class as it is served. `repository` is the class of named queries, if it has one."""

    model: type[Base]
    rule: Rule
    repository: type[Any] | None = None

    @cached_property
    def mapper(self) -> Mapper[Any]:
        return inspect(self.model)

    @cached_property
    def table(self) -> Table:
        table = self.mapper.local_table
        assert isinstance(table, Table)
        return table

    @property
    def name(self) -> str:
        return self.table.name

    @cached_property
    def columns(self) -> dict[str, ColumnInfo]:
        return {c.name: ColumnInfo(c.name, c.type, bool(c.nullable), c.default is not None) for c in self.table.columns}

    @cached_property
    def key(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.table.primary_key)

    @cached_property
    def relations(self) -> dict[str, Relation]:
        return {p.key: _relation(self, p) for p in self.mapper.relationships}

    def conditions(self, entity: Any, scope: Scope, *, deleted: bool = False) -> list[ColumnElement[bool]]:
        """The rule's row tests for one FROM occurrence. With `deleted`, soft-deleted rows that the scope may ask for
        are let in.
        """
        tests = [self.rule.visible(entity, scope)]
        if self.has(SoftDeleted):
            present = entity.deleted_at.is_(None)
            if not deleted:
                tests.append(present)
            elif scope.view is not Role.ADMIN:
                owned = self.rule.owned(entity, scope)
                tests.append(None if owned is None else or_(present, owned))
        return [test for test in tests if test is not None]

    def has(self, mixin: type[Timestamps | Audited | SoftDeleted | Versioned]) -> bool:
        return issubclass(self.model, mixin)


class Catalog:
    """The resources of one application, by table name."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        configure_mappers()
        self.compiled: dict[str, Any] = {}  # what the query layer compiled for this catalog, by dialect
        self._by_name: dict[str, Resource] = {}
        self._by_model: dict[type[Base], Resource] = {}
        for resource in resources:
            self._by_name[resource.name] = self._by_model[resource.model] = resource
        for resource in self:
            _check(resource)

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._by_name.values())

    def get(self, name: str) -> Resource | None:
        return self._by_name.get(name)

    def of(self, model: type[Any]) -> Resource:
        """The resource of a mapped class. KeyError where it is not exposed."""
        return self._by_model[model]

    def exposes(self, model: type[Any]) -> bool:
        return model in self._by_model

    def readable(self, role: Role) -> list[str]:
        """Names of the resources of which this view may read at least one column."""
        return [r.name for r in self if r.rule.readable(role)]

    def embeddable(self, resource: Resource, view: Role) -> dict[str, Relation]:
        """Relations whose target this view may read, by relationship name."""
        found = ((name, r) for name, r in resource.relations.items() if self.exposes(r.target))
        return {name: r for name, r in found if self.of(r.target).rule.readable(view)}

    def named(self, resource: Resource, target: str, view: Role, hint: str | None = None) -> list[Relation]:
        """The relations that `target` may mean. A relationship's name wins, then a table's, then that of a constraint
        or foreign key column; a hint keeps those that it names.
        """
        relations = self.embeddable(resource, view)
        if target in relations:
            found = [relations[target]]
        else:
            found = [r for r in relations.values() if self.of(r.target).name == target]
            found = found or ([r for r in relations.values() if target in r.names] if hint is None else [])
        return [r for r in found if hint is None or hint in r.names or hint == r.name]


def nearest(name: str, among: Iterable[str]) -> str | None:
    """The name that was probably meant, for a hint. Only names that the caller may know belong into `among`."""
    return next(iter(difflib.get_close_matches(name, list(among), n=1, cutoff=0.6)), None)


def _relation(resource: Resource, p: RelationshipProperty[Any]) -> Relation:
    target = p.mapper.class_
    if p.direction is RelationshipDirection.MANYTOMANY:
        if len(p.synchronize_pairs) != 1 or len(p.secondary_synchronize_pairs or ()) != 1:
            raise ValueError(f"{resource.name}.{p.key}: a relation over composite keys cannot be served")
        ((local, near),) = p.synchronize_pairs
        ((remote, far),) = p.secondary_synchronize_pairs or ()
        assert isinstance(p.secondary, Table)
        junction = p.secondary
        sides = [(_constraint(near), near.name), (_constraint(far), far.name)]
        label = f"{junction.name} using " + " and ".join(f"{name}({column})" for name, column in sides)
        return Relation(
            p.key,
            target,
            to_many=True,
            cardinality="many-to-many",
            local=local.name,
            remote=remote.name,
            secondary=junction,
            near=near.name,
            far=far.name,
            label=label,
            constraint=junction.name,
            names=frozenset({junction.name, *(name for name, _ in sides)}),
        )
    if len(p.local_remote_pairs or ()) != 1:
        raise ValueError(f"{resource.name}.{p.key}: a relation over composite keys cannot be served")
    ((local, remote),) = p.local_remote_pairs or ()
    to_one = p.direction is RelationshipDirection.MANYTOONE
    kind = "many-to-one" if to_one else "one-to-many" if p.uselist else "one-to-one"
    holder, column = (local, remote) if to_one else (remote, local)
    constraint = _constraint(holder)
    label = f"{constraint} using {local.table.name}({local.name}) and {remote.table.name}({remote.name})"
    if not any(f.column is column for f in holder.foreign_keys):
        raise ValueError(f"{resource.name}.{p.key}: a custom join condition cannot be served")
    return Relation(
        p.key,
        target,
        to_many=bool(p.uselist),
        cardinality=kind,
        local=local.name,
        remote=remote.name,
        label=label,
        constraint=constraint,
        names=frozenset({constraint, holder.name}),
    )


def _constraint(column: Any) -> str:
    """The name of the foreign key that a column has."""
    return next((str(f.constraint.name) for f in column.foreign_keys if f.constraint is not None), "")


def _check(resource: Resource) -> None:
    name, rule = resource.name, resource.rule
    if name in RESERVED:
        raise ValueError(f"{name}: this name is reserved for the service's own paths")
    if missing := set(resource.columns) - set(rule.columns):
        raise ValueError(f"{name}: no rule for column {', '.join(sorted(missing))}")
    if unknown := set(rule.columns) - set(resource.columns):
        raise ValueError(f"{name}: the rule names unknown column {', '.join(sorted(unknown))}")
    for prop in resource.mapper.column_attrs:
        if prop.key != prop.columns[0].name:
            raise ValueError(f"{name}.{prop.key}: an attribute must have its column's name")
    for relation in resource.mapper.relationships:
        if relation.lazy != "raise":
            raise ValueError(f'{name}.{relation.key}: a relationship must say lazy="raise"')
    for field, (extra, _) in rule.extra.items():
        relation_of = resource.relations.get(extra.relation)
        if relation_of is None or (isinstance(extra, Links) and relation_of.secondary is None):
            raise ValueError(f"{name}.{field}: no such relation {extra.relation}")
