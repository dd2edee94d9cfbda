"""A SQLAlchemy statement -> driver SQL and a function that makes its positional arguments, with bind processors
applied.

Bind names say where a value comes from: `v0`, `v1`, ... are slots of the values, `keys` is the list of parents' keys,
`me` and `now` come from the caller; every other bind is a constant of a rule and is processed once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ARRAY, ColumnElement, Dialect, Numeric, String, any_, bindparam, func, select
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from app.data.base import dumps
from app.data.rules import Principal
from app.data.steps import Statement

T = TypeVar("T")
Size = tuple[int, int]  # of a cache: how many entries it has, and at most


class Binds(NamedTuple):
    """What rules may use of the caller: the user's id (-1 for none) and the present."""

    me: int
    now: datetime

    @classmethod
    def of(cls, who: Principal, now: datetime) -> Binds:
        return cls(-1 if who.user_id is None else who.user_id, now)


class Prepared(NamedTuple):
    """Driver SQL, and the function (values, binds, keys) -> its arguments in order. A write names table and columns."""

    sql: str
    arguments: Callable[[Sequence[Any], Binds | None, Any], tuple[Any, ...]]
    table: str = ""
    columns: tuple[str, ...] = ()

    def statement(self, values: Sequence[Any], binds: Binds | None = None, keys: Any = None) -> Statement:
        return Statement(self.sql, self.arguments(values, binds, keys))


class Lru(OrderedDict[Hashable, T]):
    """A bounded cache: the least recently used entry goes first. Threads share it, so one that was found may be gone
    before it is moved.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def hit(self, key: Hashable) -> T | None:
        found = self.get(key)
        if found is None:
            return None
        try:
            self.move_to_end(key)
        except KeyError:
            return found  # gone already
        return found

    def store(self, key: Hashable, value: T) -> T:
        self[key] = value
        if len(self) > self.most:
            self.popitem(last=False)
        return value

    def size(self) -> Size:
        return len(self), self.most


def slot(number: int, type_: TypeEngine[Any]) -> ColumnElement[Any]:
    """A bind for one value of the values tuple."""
    return bindparam(f"v{number}", None, type_=type_, required=False)


def unbounded(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    """The type of an operand to compare with a column: an Enum would refuse what it does not know, and PostgreSQL cuts
    what is cast to VARCHAR(n) and rounds for NUMERIC(p, s).
    """
    return String() if isinstance(type_, String) else Numeric() if isinstance(type_, Numeric) else type_


def one_of(column: ColumnElement[Any], name: str, type_: TypeEngine[Any], *, sqlite: bool) -> ColumnElement[bool]:
    """`column` is among a list that travels as one parameter, so that the text does not depend on its length."""
    if not sqlite:
        return column == any_(bindparam(name, None, type_=ARRAY(type_), required=False))
    values = func.json_each(bindparam(name, None, type_=String(), required=False)).table_valued("value")
    return column.in_(select(values.c.value))


def prepare(statement: Executable, dialect: Dialect, lists: Mapping[str, TypeEngine[Any]]) -> Prepared:
    """Compiles for the driver. `lists` gives the element type of the binds that hold a list. The dialect must have
    connected once.
    """
    compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})  # type: ignore[attr-defined]
    assert isinstance(compiled, SQLCompiler)
    types = {name: bind.type for bind, name in compiled.bind_names.items()}
    namespace: dict[str, Any] = {"dumps": dumps}
    sources, constants = [], compiled.params  # a property that collects them anew each time
    for i, name in enumerate(compiled.positiontup or ()):
        element = lists.get(name) if dialect.name == "sqlite" else None
        # the elements of in_() in a rule are named after it: `status_1_2` of `status_1`
        type_ = element or types.get(name) or types[name.rpartition("_")[0]]
        process = type_.dialect_impl(dialect).bind_processor(dialect)
        namespace[f"p{i}"] = process
        sources.append(_source(name, i, constants, namespace, element is not None, process is not None, dialect))
    body = "".join(f"{source}, " for source in sources)
    exec(f"def arguments(v, w, k): return ({body})", namespace)  # the names are ours, no text of a user's
    return Prepared(str(compiled), namespace["arguments"])


def _source(
    name: str,
    i: int,
    constants: Mapping[str, Any],
    namespace: dict[str, Any],
    is_list: bool,
    processed: bool,
    dialect: Dialect,
) -> str:
    """The Python expression of one argument."""
    if name == "keys":  # raw from the driver, raw to the driver
        return "dumps(k)" if dialect.name == "sqlite" else "k"
    if name[0] == "v" and name[1:].isdigit():
        value = f"v[{name[1:]}]"
        if is_list:
            return f"dumps([p{i}(x) for x in {value}])" if processed else f"dumps({value})"
        return f"p{i}({value})" if processed else value
    if name in Binds._fields:
        return f"p{i}(w.{name})" if processed else f"w.{name}"
    constant = constants[name]
    namespace[f"x{i}"] = namespace[f"p{i}"](constant) if processed else constant
    return f"x{i}"
