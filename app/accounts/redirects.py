"""Where a link may lead: to the site itself, to what BROADSHEET_REDIRECT_URLS lists, and while the service is only for
its own machine, to any page of that machine. Anything else leads to the site: tokens travel in these addresses.

    target("https://app.example.org/welcome", settings)

A listed address allows itself and what lies beneath its path (`https://app.example.org/blog` allows `/blog/x`, not
`/blogs`); `/*` or `/**` at its end means the same. There are no wildcards in hosts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import SplitResult, urlencode, urlsplit, urlunsplit

from app.settings import Settings, is_loopback

# RFC 3986 alone: browsers take a backslash for a slash, and drop white space.
FORM = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+", re.ASCII)
PORTS = {"http": 80, "https": 443}


def target(wanted: str | None, settings: Settings) -> str:
    """`wanted` where a link may lead there, else the address of the site."""
    found = _split(wanted) if wanted else None
    return wanted if wanted and found is not None and _is_allowed(found, settings) else settings.site


def with_query(url: str, fields: Mapping[str, str]) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, urlencode(fields))))))


def with_fragment(url: str, fields: Mapping[str, str]) -> str:
    """In place of the fragment that is there."""
    return urlunsplit(urlsplit(url)._replace(fragment=urlencode(fields)))


def _is_allowed(wanted: SplitResult, settings: Settings) -> bool:
    if settings.is_local and wanted.scheme in PORTS and is_loopback(wanted.hostname or ""):
        return True
    site = _split(settings.site)
    if site is not None and _origin(site) == _origin(wanted):
        return True
    listed = (_split(text.rstrip("*")) for text in settings.accounts.redirects)
    return any(found is not None and _is_beneath(found, wanted) for found in listed)


def _is_beneath(listed: SplitResult, wanted: SplitResult) -> bool:
    base = listed.path.rstrip("/")
    return _origin(listed) == _origin(wanted) and f"{wanted.path}/".startswith(f"{base}/")


def _split(url: str) -> SplitResult | None:
    """None for what is no absolute address, or one whose parts a browser might see elsewhere."""
    if not FORM.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises for one that is no number
    except ValueError:
        return None
    segments = parts.path.lower().replace("%2e", ".").split("/")
    bracketed = "[" not in parts.netloc or parts.netloc.startswith("[")
    sane = parts.hostname and bracketed and "@" not in parts.netloc and "." not in segments and ".." not in segments
    return parts if sane else None


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or PORTS.get(parts.scheme)
