"""What the URL and the headers of a request say: media type, profile, preferences, conditions.

All of this is refused before a body is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from starlette.datastructures import Headers
from starlette.types import Scope

from app.errors import BadBody, BadQuery, BroadsheetError, TooLarge

PREFERENCES = {
    "return": ("minimal", "representation", "headers-only"),
    "handling": ("lenient", "strict"),
}
JSON_TYPES = ("*/*", "application/*", "application/json")
TAG = re.compile(r'\s*(W/)?"([^"]*)"\s*(?:,|$)')


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


# ---- media types and profiles ---------------------------------------------------------------------------------------


def check_accept(headers: Headers) -> None:
    """JSON is what there is. Raises PGRST107 where the caller takes none."""
    accept = headers.get("accept")
    if accept is None or accept in JSON_TYPES:
        return
    asked = [part.partition(";")[0].strip() for part in accept.split(",") if part.strip()]
    if not any(media.lower() in JSON_TYPES for media in asked):
        message = f"None of these media types are available: {', '.join(asked)}"
        raise BroadsheetError(message, code="PGRST107", status=406)


def check_content_type(headers: Headers) -> None:
    """Raises PGRST102 (415 on the plain surface) for a body that is not JSON in UTF-8."""
    given = headers.get("content-type")
    if given is None:
        return
    media, _, parameters = given.partition(";")
    name, _, value = parameters.partition("=")
    charset = value.strip(' "').lower() if name.strip().lower() == "charset" else "utf-8"
    if media.strip().lower() != "application/json" or charset not in ("utf-8", "utf8"):
        raise BadBody(f"Content-Type not acceptable: {given}", plain_status=415, hint="Send application/json.")


def profile_of(headers: Headers, method: str) -> str | None:
    """The schema that the caller names: `public` or none. Raises PGRST106."""
    name = "accept-profile" if method in ("GET", "HEAD") else "content-profile"
    profile = headers.get(name)
    if profile is not None and profile != "public":
        hint = "Only the following schemas are exposed: public"
        raise BroadsheetError(f"Invalid schema: {profile}", code="PGRST106", status=406, hint=hint)
    return profile


# ---- preferences ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prefer:
    """`returns` is None where the caller has no preference."""

    returns: str | None = None
    handling: str | None = None

    @property
    def applied(self) -> str:
        """The header Preference-Applied of a write, which names what was honoured."""
        named = (("return", self.returns), ("handling", self.handling))
        return ", ".join(f"{name}={value}" for name, value in named if value)


def prefer_of(headers: Headers) -> Prefer:
    """The first value of each preference counts; unknown ones are ignored. Raises PGRST122 under handling=strict."""
    given = headers.getlist("prefer")
    if not given:
        return Prefer()
    found: dict[str, str] = {}
    unknown: list[str] = []
    for text in filter(None, (part.strip() for line in given for part in line.split(","))):
        name, _, value = text.partition("=")
        name, value = name.strip().lower(), value.partition(";")[0].strip(' "')
        if value in PREFERENCES.get(name, ()):
            found.setdefault(name, value)
        else:
            unknown.append(text)
    if unknown and found.get("handling") == "strict":
        message = "Invalid preferences given with handling=strict"
        raise BadQuery(message, code="PGRST122", details=f"Invalid preferences: {', '.join(unknown)}")
    return Prefer(found.get("return"), found.get("handling"))


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
    """Whether If-None-Match names this tag, as a whole: the caller holds the very same bytes."""
    given = headers.get("if-none-match")
    if given is None:
        return False
    return given.strip() == "*" or etag.strip('"') in {tag for _, tag in TAG.findall(given)}


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
