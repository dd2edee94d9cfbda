"""How names, addresses and slugs are written: one form each, refused when none fits. Pure text functions; they raise
BadValue.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container

from app.errors import BadValue

USERNAME = re.compile(r"[a-z0-9][a-z0-9_-]{1,49}")
SLUG = re.compile(r"[A-Za-z0-9._-]{1,200}")
LONGEST = 2000  # characters of any name or address as it is given
EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


def clean_name(text: str) -> str:
    """NFC, trimmed, inner white space collapsed."""
    return " ".join(_nfc(text).split())


def _nfc(text: str) -> str:
    """Of at most `LONGEST` characters: the time that it takes grows with the square of the combining marks in a row."""
    if len(text) > LONGEST:
        raise BadValue(f"value too long for a name: {len(text)} characters", code="22001")
    return unicodedata.normalize("NFC", text)


def clean_title(text: str) -> str:
    title = clean_name(text)
    if not title:
        raise BadValue("a title cannot be empty", code="22023", hint="Send 1 to 200 characters.")
    return title


def clean_tag(text: str) -> str:
    name = clean_name(text)
    if not 1 <= len(name) <= 100:
        raise BadValue(f"a tag has 1 to 100 characters, not {len(name)}", code="22023")
    return name


def clean_email(text: str) -> str:
    address = _nfc(text).strip().lower()
    if not EMAIL.fullmatch(address) or len(address) > 254:
        raise BadValue(
            "this is no e-mail address", code="22023", hint="Send an address such as ada@example.org, or null."
        )
    return address


def clean_username(text: str) -> str:
    name = text.strip().lower()
    if not USERNAME.fullmatch(name):
        hint = "A username has 2 to 50 of a-z, 0-9, _ and -, and begins with a letter or a digit."
        raise BadValue(f'"{name[:60]}" is no username', code="22023", hint=hint)
    return name


def clean_slug(text: str) -> str:
    """A given slug is never changed, only refused."""
    if not SLUG.fullmatch(text):
        raise BadValue(
            f'"{text[:60]}" is no slug', code="22023", hint="A slug has 1 to 200 of A-Z, a-z, 0-9, dot, _ and -."
        )
    return text


def ascii_words(text: str) -> str:
    """ASCII-folded, lower-case, every run of other characters one `-`."""
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", folded).strip("-")


def slug_from(title: str) -> str:
    return ascii_words(title)[:190].strip("-") or "post"


def free_name(base: str, taken: Container[str], *, most: int) -> str:
    """`base`, else `base-2`, `base-3`: the first that is not taken, at most `most` characters long."""
    name, number = base[:most], 1
    while name in taken:
        number += 1
        tail = f"-{number}"
        name = base[: most - len(tail)] + tail
    return name
