"""Arrays and casts as PostgreSQL has them: each is asked of a real server, and of us."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import BigInteger, Boolean, Date, Integer, Numeric, Text, Uuid, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from app.data.base import Json, UtcTime
from app.data.database import Database
from app.errors import BadQuery, BadValue
from app.query.casts import NAMES, caster, target_of
from app.query.encoder import converter, encode
from app.query.values import literal
from tests.query.test_parser_filters import ARRAYS, MALFORMED

TYPES: dict[str, TypeEngine[Any]] = {
    "bigint": BigInteger(),
    "integer": Integer(),
    "numeric(8,2)": Numeric(8, 2),
    "boolean": Boolean(),
    "timestamptz": UtcTime(),
    "date": Date(),
    "uuid": Uuid(),
    "json": Json(),
    "text": Text(),
}
# One value a word; `_` stands for a space.
VALUES: dict[str, str] = {
    "bigint": "0 1 -1 32767 32768 2147483647 -2147483649 9007199254740993 9223372036854775807 123456789 16777217 "
    "1000000000000000 999999999999999 -9223372036854775808",
    "integer": "0 1 -1 32767 -32768 32768 2147483647 16777217 100000 1000000 123456789",
    "numeric(8,2)": "0 0.50 1.50 2.50 -0.50 -2.50 10.5 999999.99 -0.01 0.10 32767.49 32767.50 123456.78 100000 0.30",
    "boolean": "true false",
    "timestamptz": "2024-02-29T00:00:00Z 2024-01-02T03:04:05.6Z 2024-01-02T23:59:59.999999Z 1970-01-01T00:00:00Z "
    "0999-12-31T12:00:00.0001Z 9999-12-31T00:00:00Z",
    "date": "2024-02-29 0999-01-01 9999-12-30",
    "uuid": "0123abcd-0123-4abc-8def-0123456789ab",
    "json": '{"b":1,"a":[1.0,null]} "x" 1e22 null []',
    "text": "_ x 1 -1 _42_ 1.5 1e3 0.1 123456.789 9223372036854775808 t off no 2024-02-29 2024-01-02T03:04:05.6Z "
    '2024-01-02_03:04:05+05:30 2024-13-01 {"a":_1} [1,] null 0123ABCD01234abc8def0123456789ab 32768 2147483648 1e15 '
    "1e16 1e-5 0.0001 1e39 1e-46 1e400 3.4e38 é 00012 +5 16777217 0.123456789 1.0 -0 1e22 NaN inf -Infinity 1e-400",
}


# ---- casts -----------------------------------------------------------------------------------------------------------


def ours(from_: str, given: str, cast: str) -> str:
    """What a column with this value becomes, or the SQLSTATE of the refusal."""
    type_ = TYPES[from_]
    try:
        convert = caster(type_, target_of(cast, type_))
        value = fetched(from_, given)
        return encode(convert(value) if convert else value).decode()
    except (BadQuery, BadValue) as exc:
        return exc.code


def fetched(from_: str, given: str) -> Any:
    """The JSON value of a column, as the driver and `encoder.py` make it."""
    type_ = TYPES[from_]
    match from_:
        case "text":
            return given
        case "timestamptz":
            return given.removesuffix("Z") + "+00:00"
        case "numeric(8,2)":
            value = literal(type_, given).quantize(Decimal("0.01"))
        case "json":
            value = given
        case _:
            value = literal(type_, given)
    shown = converter(type_, sqlite=False)
    return shown(value) if shown else value


async def theirs(connection: AsyncConnection, from_: str, given: str, cast: str) -> str:
    try:
        async with connection.begin_nested():
            sql = f"SELECT to_json(CAST(CAST(CAST(:given AS text) AS {from_}) AS {cast}))::text"
            return str(await connection.scalar(text(sql), {"given": given}))
    except DBAPIError as exc:
        error: Any = exc.orig
        return str(error.sqlstate)


def agree(have: str, want: str, cast: str) -> bool:
    if cast == "jsonb" and have[:2] != "22":  # it prints its own way
        return bool(json.loads(have, parse_float=Decimal) == json.loads(want, parse_float=Decimal))
    # a number as a date has the wrong syntax, or is taken for a date out of range
    return have == want or (have, want) == ("22007", "22008")


KNOWN = {
    ("text", "123456.789", "smallint"),  # PostgreSQL 18 looks at the range before the rest of the text
    *(("text", "-Infinity", cast) for cast in ("date", "timestamp", "timestamptz")),  # words for times are for filters
}


@pytest.mark.parametrize("from_", TYPES)
async def test_casts(database: Database, from_: str) -> None:
    if database.name != "postgresql":
        pytest.skip("PostgreSQL is the reference")
    wrong = []
    async with database.writer.connect() as connection:
        for cast in NAMES:
            for given in ["", *VALUES[from_].split(" ")] if from_ == "text" else VALUES[from_].split(" "):
                value = given.replace("_", " ")
                have, want = ours(from_, value, cast), await theirs(connection, from_, value, cast)
                if not agree(have, want, cast) and (from_, value, cast) not in KNOWN:
                    wrong.append((from_, value, cast, have, want))
    assert not wrong, "\n".join(map(str, wrong))


# ---- arrays ----------------------------------------------------------------------------------------------------------


async def test_arrays(database: Database) -> None:
    if database.name != "postgresql":
        pytest.skip("PostgreSQL is the reference")
    async with database.writer.connect() as connection:
        for given, elements in ARRAYS:
            found = await connection.scalar(text("SELECT CAST(CAST(:given AS text) AS text[])"), {"given": given})
            assert found == list(elements), given


async def test_malformed_arrays(database: Database) -> None:
    if database.name != "postgresql":
        pytest.skip("PostgreSQL is the reference")
    for given in MALFORMED:
        if given in ("{{a}}", "[1:1]={a}"):  # several dimensions and bounds are for arrays, not for lists of operands
            continue
        with pytest.raises(DBAPIError) as caught:
            async with database.writer.connect() as connection:
                await connection.scalar(text("SELECT CAST(CAST(:given AS text) AS text[])"), {"given": given})
        assert caught.value.orig.sqlstate == "22P02", given  # type: ignore[union-attr]
