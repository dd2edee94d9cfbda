"""The smallest pieces of the query language: decoding, names, quotes, and refusals that say where. Pure, without
recursion.
"""

from __future__ import annotations

import re
from typing import NoReturn
from urllib.parse import unquote_to_bytes

from app.data.checks import characters
from app.errors import BadQuery, BadValue
from app.settings import Limits

NAME_SIGNS = "_ $"
PLAIN = re.compile(rb"[^%+\x00]*+")  # ASCII that stands for itself


def pairs(query_string: str | bytes) -> list[tuple[str, str]]:
    """Decoded names and values in order. Raises BadQuery."""
    return [pair(part) for part in parts(query_string)]


def parts(query_string: str | bytes) -> list[bytes]:
    """The parameters in order, as they are written."""
    # a lone surrogate passes here and is refused when the part is decoded
    raw = query_string if isinstance(query_string, bytes) else query_string.encode(errors="surrogatepass")
    return [part for part in raw.split(b"&") if part]


def pair(part: bytes) -> tuple[str, str]:
    """Decoded name and value; `+` is a space. Raises BadQuery for bad UTF-8 and for a parameter without `=`."""
    key, equals, value = part.partition(b"=")
    if not equals:
        raise BadQuery(f"the parameter {decode(key)!r} has no value", hint="Write name=value.")
    return decode(key), decode(value)


def decode(raw: bytes) -> str:
    """Percent-decoding, strictly UTF-8. Raises BadQuery."""
    if raw.isascii() and PLAIN.fullmatch(raw) is not None:
        return raw.decode("ascii")
    try:
        text = unquote_to_bytes(raw.replace(b"+", b" ")).decode()
        characters(text)
    except UnicodeError:
        raise BadQuery("the query string is no UTF-8", hint="Percent-encode it as UTF-8.") from None
    except BadValue as exc:  # in a query string it is a 400 on every surface
        raise BadQuery(exc.message, code=exc.code, hint=exc.hint) from None
    return text


def skip(text: str, at: int) -> int:
    """The place of the next character that is no white space."""
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def name(text: str, at: int, what: str, limits: Limits, expecting: str = "a column") -> tuple[str, int]:
    """A plain or a quoted name from `at`; returns it and the place behind it and behind white space."""
    if text[at : at + 1] == '"':
        found, end = quoted(text, at, what)
    else:
        end = plain_end(text, at)
        found = text[at:end].strip()
        if not found:
            unexpected(what, text, at, expecting)
    return short(found, limits), skip(text, end)


def short(found: str, limits: Limits) -> str:
    if len(found) > limits.name:
        raise BadQuery(f"the name {found[:20]!r}... is longer than {limits.name} characters")
    return found


def plain_end(text: str, at: int) -> int:
    """The end of a name without quotes: letters, digits, `_`, space, `$`, and `-` unless it begins `->`."""
    while at < len(text) and (text[at].isalnum() or text[at] in NAME_SIGNS or _is_dash(text, at)):
        at += 1
    return at


def quoted(text: str, at: int, what: str) -> tuple[str, int]:
    """What stands in the quotes that open at `at`, `\\` protecting the next character; and the place behind them."""
    out: list[str] = []
    at += 1
    while at < len(text):
        sign = text[at]
        if sign == '"':
            return "".join(out), at + 1
        if sign == "\\" and at + 1 < len(text):
            at += 1
            sign = text[at]
        out.append(sign)
        at += 1
    unexpected(what, text, at, "a closing quote")


def _is_dash(text: str, at: int) -> bool:
    return text[at] == "-" and text[at + 1 : at + 2] != ">"


# ---- refusals -------------------------------------------------------------------------------------------------------


def unexpected(what: str, text: str, at: int, expecting: str, hint: str | None = None) -> NoReturn:
    found = f'"{text[at]}"' if at < len(text) else "end of input"
    message = f'"failed to parse {what} ({text})" (line 1, column {at + 1})'
    raise BadQuery(message, details=f"unexpected {found} expecting {expecting}", hint=hint)


def not_available(what: str) -> NoReturn:
    raise BadQuery("Feature not implemented", code="PGRST127", details=f"{what} is not available")


def too_many(what: str, most: int) -> NoReturn:
    raise BadQuery(f"more than {most} {what} in one request", hint="Ask in several requests.")
