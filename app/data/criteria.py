"""What a session may see: row rules as loader criteria, masked columns, and the columns that do not exist for a view.

`AppSession` adds the criteria beneath every ORM statement. Two limits, both for Python code that works around the ORM:
Core statements over `Model.__table__` carry no rules, nor does a class that is named only inside functions of a WHERE.
An entity holds all columns but masked ones: those that do not exist for the caller can be read from it, not asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from sqlalchemy import CTE, ColumnElement, CompoundSelect, Subquery, and_, case, false
from sqlalchemy.orm import LoaderCriteriaOption, with_loader_criteria
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import ColumnClause
from sqlalchemy.sql.visitors import ExternallyTraversible

from app.data.audit import Unit
from app.data.base import Base
from app.data.catalog import Catalog
from app.data.rules import Role, Scope
from app.data.scopes import may_read, require_read
from app.errors import Forbidden

# Marks a CASE that masks a column already, so that the check of columns does not look inside.
MASKED = "broadsheet_masked"

E = TypeVar("E", bound=ExternallyTraversible)


class Sight:
    """The rules of one catalog for one unit of work. Everything is built at its first use and kept for the session."""

    def __init__(self, catalog: Catalog, unit: Unit) -> None:
        self.catalog = catalog
        self.unit = unit
        self.scope = Scope.of(unit.who, unit.now)
        self._options: dict[bool, tuple[LoaderCriteriaOption, ...]] = {}
        self.masked = _masked(catalog, unit.who.view)
        self._restricted = _restricted(catalog, unit.who.view)

    def options(self, *, include_deleted: bool) -> tuple[LoaderCriteriaOption, ...]:
        """One criterion for each mapped class that has any; what the catalog does not expose is the system's."""
        if include_deleted not in self._options:
            self._options[include_deleted] = tuple(
                with_loader_criteria(model, test, include_aliases=True, propagate_to_loaders=True)
                for model, test in self._criteria(include_deleted)
            )
        return self._options[include_deleted]

    def _criteria(self, include_deleted: bool) -> Iterator[tuple[type[Base], ColumnElement[bool]]]:
        for mapper in Base.registry.mappers:
            test = self.criterion(mapper.class_, include_deleted=include_deleted)
            if test is not None:
                yield mapper.class_, test

    def criterion(self, model: type[Base], *, include_deleted: bool) -> ColumnElement[bool] | None:
        """Soft delete and the rule's row test as one expression, or None where every row is seen. No row is, of a table
        outside of the caller's scopes.
        """
        if not self.catalog.exposes(model):
            return None if self.unit.who.role is Role.SYSTEM else false()
        if not may_read(self.unit.who, self.catalog.of(model).name):
            return false()
        tests = self.catalog.of(model).conditions(model, self.scope, deleted=include_deleted)
        return and_(*tests) if tests else None

    def check_scopes(self, statement: ExternallyTraversible) -> None:
        """Refuses a statement that names a mapped class outside of the caller's scopes; one that comes to it by a
        relation alone finds it empty. Raises Forbidden.
        """
        if self.unit.who.scopes is None:
            return
        for element in visitors.iterate(statement):
            entity = getattr(element, "_annotations", {}).get("parententity")
            if entity is not None:
                require_read(self.unit.who, entity.mapper.local_table.name)

    def mask(self, values: Mapping[str, Any], model: type[Any]) -> list[str]:
        """The masked columns that must read as None in an entity or row with these values.

        The row test of the mask is called with plain Python values; anything but True keeps the mask. So a test that is
        no simple comparison masks too much rather than too little.
        """
        names = self.masked.get(model, ())
        return [name for name in names if not self._unmasked(model, name, values)]

    def _unmasked(self, model: type[Any], name: str, values: Mapping[str, Any]) -> bool:
        test = self.catalog.of(model).rule.columns[name].unmasked
        assert test is not None
        who = self.unit.who
        me = -1 if who.user_id is None else who.user_id  # as in Scope.of
        scope: Any = SimpleNamespace(view=who.view, me=me, now=self.unit.now)
        try:
            return test(SimpleNamespace(**values), scope) is True  # type: ignore[comparison-overlap]  # plain values give a plain bool
        except (AttributeError, TypeError):
            return False

    def masking(self, expression: E) -> E:
        """The expression with a CASE in place of each masked column: own rows count by their value, others as NULL."""
        if not self.masked:
            return expression

        def replace(element: ExternallyTraversible, **_: Any) -> ExternallyTraversible | None:
            entity = getattr(element, "_annotations", {}).get("parententity")
            if entity is None or not isinstance(element, ColumnClause):
                return None
            if element.key not in self.masked.get(entity.mapper.class_, ()):
                return None
            test = self.catalog.of(entity.mapper.class_).rule.columns[element.key].unmasked
            assert test is not None
            condition = test(entity.entity, self.scope)
            assert condition is not None
            return case((condition, element))._annotate({MASKED: True})

        return cast(E, visitors.replacement_traverse(expression, {}, replace))

    def check(self, statement: ExternallyTraversible) -> None:
        """Refuses columns that do not exist for this view, and masked ones outside their mask. Raises Forbidden."""
        if not self._restricted:
            return
        stack: list[ExternallyTraversible] = [statement, *_whole_rows(statement)]
        while stack:
            element = stack.pop()
            if MASKED in getattr(element, "_annotations", {}):
                continue
            if isinstance(element, ColumnClause):
                for column in element.base_columns:
                    if column in self._restricted:
                        raise Forbidden(self._restricted[column])
            stack.extend(element.get_children())


def _whole_rows(statement: ExternallyTraversible) -> Iterator[ColumnElement[Any]]:
    """The columns that come out unnamed and not as entities: those of a union, of a subquery selected as a whole."""
    if isinstance(statement, CompoundSelect):
        yield from statement.selected_columns
    for element in getattr(statement, "_raw_columns", ()):
        if isinstance(element, Subquery | CTE) and "parententity" not in element._annotations:
            yield from element.c


@lru_cache(maxsize=64)
def _masked(catalog: Catalog, view: Role) -> dict[type[Base], tuple[str, ...]]:
    """The masked columns of each model that has any for this view."""
    found = {r.model: tuple(name for name in r.columns if r.rule.mask(name, view) is not None) for r in catalog}
    return {model: names for model, names in found.items() if names}


@lru_cache(maxsize=64)
def _restricted(catalog: Catalog, view: Role) -> dict[ColumnElement[Any], str]:
    """What to say when a statement names one of the columns that are masked or do not exist for this view."""
    found: dict[ColumnElement[Any], str] = {}
    for resource in catalog if view is not Role.ADMIN else ():
        rule = resource.rule
        for name in resource.columns:
            if view not in rule.columns[name].read or rule.mask(name, view) is not None:
                found[resource.table.c[name]] = f"permission denied for column {name} of table {resource.name}"
    return found
