"""Secrets that must not turn up, and the search for them: as they are, percent-encoded, escaped, in base64 or in
hexadecimal.

    scan([Channel("log", content)], {"password": "..."})  ->  ["password in log (plain)"]
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import quote

SHORTEST = 8  # characters that do not turn up by chance


@dataclass(slots=True)
class Channel:
    """What somebody reads; `may` are the names of secrets that this reader may see there."""

    name: str
    content: bytes
    may: set[str] = field(default_factory=set)


@lru_cache(maxsize=1000)
def forms(secret: str) -> dict[str, re.Pattern[bytes]]:
    """What a secret looks like when it stands in something else. Digits are looked for as a number of their own."""
    raw = secret.encode()
    if secret.isdigit():
        return {"plain": re.compile(rb"(?<![0-9A-Za-z.])" + raw + rb"(?![0-9A-Za-z])")}
    assert len(secret) >= SHORTEST, secret
    found = {"plain": raw, "percent-encoded": quote(secret, safe="").encode(), "hexadecimal": raw.hex().encode()}
    found["escaped"] = json.dumps(secret)[1:-1].encode()
    found |= {f"base64, {before} before": _in_base64(raw, before) for before in range(3)}
    patterns = {name: re.escape(text) for name, text in found.items()}
    for name in patterns:
        if name.startswith("base64"):
            patterns[name] = patterns[name].replace(rb"\+", rb"[+-]").replace(b"/", b"[/_]")
    return {name: re.compile(pattern) for name, pattern in patterns.items()}


def _in_base64(raw: bytes, before: int) -> bytes:
    """The digits that hang on the secret alone, where so many bytes stand before it."""
    encoded = base64.b64encode(b"-" * before + raw + b"--")
    return encoded[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]


def scan(channels: Iterable[Channel], secrets: Mapping[str, str]) -> list[str]:
    return [hit for channel in channels for hit in _hits(channel, secrets)]


def _hits(channel: Channel, secrets: Mapping[str, str]) -> Iterator[str]:
    for name, secret in secrets.items():
        if name not in channel.may:
            yield from (f"{name} in {channel.name} ({form})" for form in _found(channel.content, secret))


def _found(content: bytes, secret: str) -> list[str]:
    return [form for form, pattern in forms(secret).items() if pattern.search(content)][:1]
