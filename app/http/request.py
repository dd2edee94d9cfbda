"""What the URL and the headers of a request say by themselves: length, profile, conditions."""

from __future__ import annotations

import re
from string import ascii_letters, digits
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from app.errors import BadQuery, BroadsheetError, TooLarge
from app.http.context import State

IN_HEADERS = "!$&'()*+,-./:;=?@_~%[]"  # what a query string may show of itself in a header
AS_IT_STANDS = f"{ascii_letters}{digits}{IN_HEADERS}".encode()
TAG = re.compile(r'\s*+(W/)?+"([^"]*+)"\s*+(?:,|$)')  # possessive: it looks at no character twice


# ---- headers --------------------------------------------------------------------------------------------------------


class RequestHeaders(Headers):
    """Starlette's, with a look-up in place of a search: a read asks for a dozen headers, and most are not there."""

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        super().__init__(raw=raw)
        self._found = dict(reversed(raw))  # of several with one name the first counts

    def __contains__(self, key: Any) -> bool:
        return key.lower().encode("latin-1") in self._found

    def __getitem__(self, key: str) -> str:
        value = self._found.get(key.lower().encode("latin-1"))
        if value is None:
            raise KeyError(key)
        return value.decode("latin-1")

    def get(self, key: str, default: Any = None) -> Any:
        value = self._found.get(key.lower().encode("latin-1"))
        return default if value is None else value.decode("latin-1")

    def getlist(self, key: str) -> list[str]:
        return super().getlist(key) if key in self else []


def headers_of(scope: Scope) -> RequestHeaders:
    """Made once for each request."""
    found: RequestHeaders | None = scope.get("broadsheet.headers")
    if found is None:
        found = scope["broadsheet.headers"] = RequestHeaders(list(scope["headers"]))
    return found


class Incoming(Request[State]):
    """A request that came over the wire."""

    headers: Headers = Headers()  # in place of a property, which is asked for a dozen times

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        self.headers = headers_of(scope)


# ---- the URL --------------------------------------------------------------------------------------------------------


def check_url(scope: Scope, most: int) -> None:
    """Refuses a URL that is too long (414), and a path that is no UTF-8 or holds a NUL (400)."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    if len(path) + len(scope["query_string"]) > most:
        raise TooLarge(f"the URL is longer than {most} bytes", code="BRD414", status=414)
    if b"%" not in path:
        return
    decoded = unquote_to_bytes(path)
    try:
        decoded.decode()
    except UnicodeDecodeError:
        raise BadQuery("the path is no UTF-8", code="22021", hint="Percent-encode it as UTF-8.") from None
    if b"\x00" in decoded:
        raise BadQuery("the path holds a NUL character", code="22021", hint="Remove the NUL character.")


def shown(query_string: bytes) -> str:
    """A raw query string as it may stand in a header."""
    if not query_string.translate(None, AS_IT_STANDS):
        return query_string.decode("ascii")
    return quote(query_string, safe=IN_HEADERS)


# ---- profiles -------------------------------------------------------------------------------------------------------


def profile_of(headers: Headers, method: str) -> str | None:
    """The schema that the caller names: `public` or none. Raises PGRST106."""
    name = "accept-profile" if method in ("GET", "HEAD") else "content-profile"
    profile = headers.get(name)
    if profile is not None and profile != "public":
        hint = "Only the following schemas are exposed: public"
        raise BroadsheetError(f"Invalid schema: {profile}", code="PGRST106", status=406, hint=hint)
    return profile


# ---- conditions -----------------------------------------------------------------------------------------------------


def expected_versions(headers: Headers) -> frozenset[int] | None:
    """The versions that If-Match allows; None without a condition and for `*`. Only the part before the hyphen counts.

    A weak tag never matches (RFC 9110, 13.1.1), nor does one that names no version.
    """
    etags = _etags(headers, "if-match")
    if etags is None:
        return None
    versions = (tag.partition("-")[0] for weak, tag in etags if not weak)
    return frozenset(int(v) for v in versions if v.isascii() and v.isdigit() and len(v) < 10)


def is_known(headers: Headers, etag: str) -> bool:
    """Whether If-None-Match names this tag, as a whole with its quotes: the caller holds the very same bytes."""
    given = headers.get("if-none-match")
    return given is not None and (given.strip() == "*" or etag in given)


def _etags(headers: Headers, name: str) -> list[tuple[str, str]] | None:
    if name not in headers:
        return None
    text = ",".join(headers.getlist(name)).strip()
    if text == "*":
        return None
    found, at = [], 0
    while match := TAG.match(text, at):
        found.append((match[1], match[2]))
        at = match.end()
        if at == len(text):
            return found
    raise BadQuery(f"the header {name} cannot be read", hint='Send a tag as it came in ETag, such as "7-0123abcd".')
