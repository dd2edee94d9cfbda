"""Functions that callers may call by name, `/rpc/{name}`: their parameters, read from the annotations, and the
arguments of one call. Source: dialect 1.19.

    async def search(session: AppSession, q: str) -> Sequence[int]: ...
    ACTIONS = {"search": Action(search, Returns.ROWS, Post, reads=True)}
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, Date, Numeric, Text, Uuid
from sqlalchemy.types import TypeEngine

from app.data import checks
from app.data.base import Base, UtcTime
from app.data.catalog import nearest
from app.data.rules import Principal
from app.data.session import AppSession
from app.data.steps import Steps
from app.errors import BadValue, NotFound
from app.query.filters import read_array
from app.query.values import from_json, literal
from app.settings import Limits

TYPES: dict[Any, TypeEngine[Any]] = {
    int: BigInteger(),
    str: Text(),
    bool: Boolean(),
    date: Date(),
    datetime: UtcTime(),
    Decimal: Numeric(),
    UUID: Uuid(),
}


class Returns(StrEnum):
    """What a function answers: one JSON value, nothing, the key of one row, or the keys of rows in their order."""

    VALUE = "value"
    VOID = "void"
    ROW = "row"
    ROWS = "rows"


@dataclass(frozen=True, slots=True)
class Parameter:
    """`many` takes a list of the type, `nullable` NULL; one that is not `required` has a default."""

    name: str
    type: TypeEngine[Any]
    many: bool
    nullable: bool
    required: bool


@dataclass(frozen=True, slots=True)
class Action:
    """An async function of a session and arguments. `model` is whose keys it returns; one that `reads` never writes,
    and may be called by GET. `group` makes several calls, given as callers and arguments, in one unit of work: what
    each returns, or its refusal, which leaves nothing.
    """

    function: Callable[..., Awaitable[Any]]
    returns: Returns = Returns.VALUE
    model: type[Base] | None = None
    reads: bool = False
    group: Callable[[AppSession, Sequence[tuple[Principal, Mapping[str, Any]]]], Steps[Sequence[Any]]] | None = None
    parameters: Mapping[str, Parameter] = field(init=False)

    def __post_init__(self) -> None:
        if (self.model is not None) is not (self.returns in (Returns.ROW, Returns.ROWS)):
            raise ValueError("a function has a model exactly when it returns rows")
        object.__setattr__(self, "parameters", _parameters(self.function))

    @property
    def summary(self) -> str:
        """The first paragraph of its docstring, as one line."""
        return " ".join((inspect.getdoc(self.function) or "").partition("\n\n")[0].split())


Actions = Mapping[str, Action]


def _parameters(function: Callable[..., Any]) -> dict[str, Parameter]:
    """All but the first, which is the session. Raises ValueError for an annotation that no argument can have."""
    _, *given = inspect.signature(function, eval_str=True).parameters.values()
    return {p.name: _parameter(p.name, p.annotation, required=p.default is p.empty) for p in given}


def _parameter(name: str, annotation: Any, *, required: bool) -> Parameter:
    nullable = many = False
    if get_origin(annotation) in (Union, UnionType):
        kept = [part for part in get_args(annotation) if part is not NoneType]
        nullable, annotation = len(kept) < len(get_args(annotation)), kept[0] if len(kept) == 1 else None
    if get_origin(annotation) is list:
        many, (annotation,) = True, get_args(annotation)
    if annotation not in TYPES:
        raise ValueError(f"the parameter {name} has a type that no argument can have")
    return Parameter(name, TYPES[annotation], many, nullable, required)


# ---- one call -------------------------------------------------------------------------------------------------------


def action_of(actions: Actions, name: str, names: Sequence[str], *, json: bool) -> Action:
    """The function that takes arguments of these names. Raises NotFound (PGRST202); `json` says that they came in a
    body.
    """
    action = actions.get(name)
    if action is not None and _takes(action, names):
        return action
    near = name if action is not None else nearest(name, actions)
    found = f"public.{name}({', '.join(sorted(names))})" if names else f"public.{name} without parameters"
    raise NotFound(
        f"Could not find the function {found} in the schema cache",
        code="PGRST202",
        details=f"Searched for the function public.{name} {_searched(names, json=json)}, but no matches were found in "
        "the schema cache.",
        hint=f"Perhaps you meant to call the function {signature(actions, near)}" if near else None,
    )


def _takes(action: Action, names: Sequence[str]) -> bool:
    required = {p.name for p in action.parameters.values() if p.required}
    return required <= set(names) <= action.parameters.keys()


def signature(actions: Actions, name: str) -> str:
    """`public.search(q)`."""
    return f"public.{name}({', '.join(actions[name].parameters)})"


def _searched(names: Sequence[str], *, json: bool) -> str:
    text = (
        f"with parameter{'s' if len(names) > 1 else ''} {', '.join(sorted(names))}" if names else "without parameters"
    )
    return f"{text} or with a single unnamed json/jsonb parameter" if json else text


def from_texts(action: Action, given: Mapping[str, Sequence[str]], limits: Limits) -> dict[str, Any]:
    """Arguments of a query string: literals, a list as `{1,2}` or as a name given several times. Raises BadValue,
    BadQuery.
    """
    return {name: _from_text(action.parameters[name], texts, limits) for name, texts in given.items()}


def _from_text(parameter: Parameter, texts: Sequence[str], limits: Limits) -> Any:
    if parameter.many:
        elements = _elements(texts[0], limits) if len(texts) == 1 else texts
        return [_not_null(parameter, None if x is None else literal(parameter.type, x)) for x in elements]
    if len(set(texts)) > 1:
        raise BadValue(f"the argument {parameter.name} is given twice with different values", code="22023")
    if parameter.nullable and texts[0] == "" and not isinstance(parameter.type, Text):
        return None  # how a client writes None
    return literal(parameter.type, texts[0])


def _elements(text: str, limits: Limits) -> Sequence[str | None]:
    if text[:1] != "{":
        return (text,)
    elements, end = read_array(text, 0, limits)
    if end < len(text):
        raise BadValue(f'malformed array literal: "{text[:60]}"', code="22P02", hint="Write {a,b}.")
    return elements


def from_body(action: Action, given: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """Arguments of a JSON object. Raises BadValue, BadQuery."""
    return {name: _from_json(action.parameters[name], value, limits) for name, value in given.items()}


def _from_json(parameter: Parameter, value: Any, limits: Limits) -> Any:
    if value is None and parameter.nullable:
        return None
    if not parameter.many:
        return _checked(parameter, value)
    if isinstance(value, str):
        return _from_text(parameter, [value], limits)
    if not isinstance(value, list):
        raise BadValue(f"the argument {parameter.name} is a list", hint="Send a JSON array.")
    return [_checked(parameter, element) for element in value]


def _checked(parameter: Parameter, value: Any) -> Any:
    read = _not_null(parameter, from_json(parameter.type, value))
    checks.fits(parameter.type, read)
    return read


def _not_null(parameter: Parameter, value: Any) -> Any:
    if value is None:
        raise BadValue(f"the argument {parameter.name} cannot be null", code="22004")
    return value
