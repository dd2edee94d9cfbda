"""Usernames, full names, tags, titles and slugs as the tables take them, made from foreign text.

Every function is deterministic: the same source gives the same names in every run, so a second import finds its rows.
Those that cannot make a name raise Refused.
"""

import hashlib
import re
import unicodedata

from app.importers.records import Refused
from app.importers.text import one_line, shown, storable

FULL_NAME_LENGTH = 100
TAG_LENGTH = 100
TITLE_LENGTH = 200
SLUG_LENGTH = 200
USERNAME_LENGTH = 50
EMAIL_LENGTH = 254

_USERNAME = re.compile(r"[a-z0-9][a-z0-9_-]{1,49}")
_SLUG = re.compile(r"[A-Za-z0-9._-]{1,200}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def username_from(name: str) -> str:
    """ "Rémy Rakic" is remy-rakic; a name without two usable letters (王) is author- and eight digits of its hash."""
    folded = _folded(name).encode("ascii", "ignore").decode().lower()
    username = re.sub(r"[^a-z0-9_-]+", "-", folded).strip("-")[:USERNAME_LENGTH]
    return username if _USERNAME.fullmatch(username) else f"author-{_digest(name)}"


def full_name_from(name: str) -> str | None:
    """One line of at most 100 characters, None where nothing is left."""
    return storable(one_line(name), "the name")[:FULL_NAME_LENGTH].strip() or None


def email_from(text: str) -> str | None:
    """Lower-cased; None where it is no plausible address."""
    email = text.strip().lower()
    return email if len(email) <= EMAIL_LENGTH and email.isprintable() and _EMAIL.fullmatch(email) else None


def tag_from(text: str) -> str:
    """One line, kept as written."""
    return _bounded(text, "the tag", TAG_LENGTH)


def title_from(text: str) -> str:
    """One line."""
    return _bounded(text, "the title", TITLE_LENGTH)


def slug_from(text: str) -> str:
    """A valid slug is kept as it is; in others, accents are dropped and each run of other characters becomes one `-`.

    Where that loses letters (2019/你好) or the end (over 200 characters), eight digits of the text's hash are added, so
    that different texts keep different slugs.
    """
    if _SLUG.fullmatch(text):
        return text
    folded = _folded(text)
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", folded).strip("-")
    lost = any(letter.isalnum() and not letter.isascii() for letter in folded)
    if slug and not lost and len(slug) <= SLUG_LENGTH:
        return slug
    return f"{slug[: SLUG_LENGTH - 9].rstrip('-') or 'post'}-{_digest(text)}"


def _bounded(text: str, what: str, length: int) -> str:
    line = storable(one_line(text), what)
    if not 1 <= len(line) <= length:
        raise Refused(f"{what} {shown(line)} has {len(line)} characters, 1 to {length} are allowed")
    return line


def _folded(text: str) -> str:
    """The text without its accents: é is decomposed and the combining mark dropped."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def _digest(text: str) -> str:
    # surrogatepass: file names and JSON may hold lone surrogates.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
