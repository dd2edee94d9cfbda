"""How what is over leaves a table: a few rows at a time."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Delete, Table, delete, select


def remove_first(table: Table, over: ColumnElement[bool], order: ColumnElement[Any], most: Any) -> Delete:
    """Removes the first `most` rows that are `over`, by `order`. Those that somebody else is about to remove or to use
    are passed over: whoever waits for several may deadlock.
    """
    (key,) = table.primary_key
    # apart, for a subquery may be run more than once, and finds others each time
    first = select(key).where(over).order_by(order).limit(most).with_for_update(skip_locked=True).cte("first")
    return delete(table).where(key.in_(select(first.c[key.name])))
