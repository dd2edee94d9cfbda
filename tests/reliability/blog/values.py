"""Values of a payload: which fields a caller may write, which values fit, in which form they are kept. Source:
decisions 1 and 4.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.reliability.blog.refusing import body, is_null, no_choice, no_column, refuse, too_long
from tests.reliability.blog.state import Row

STATUSES = ("draft", "published", "archived")
ROLES = ("member", "author", "admin")


@dataclass(frozen=True, slots=True)
class Fields:
    """Of one table for one view. `required` are those that a new row must bring, `defaults` what PUT gives the others;
    `near` says which name a hint proposes for one that is no field.
    """

    table: str
    fields: tuple[str, ...]
    required: tuple[str, ...]
    defaults: Mapping[str, object]
    near: Mapping[str, str]


LENGTHS = {"title": 200, "slug": 200, "username": 50, "email": 254, "full_name": 100, "name": 100}
NULLABLE = {"published_at", "email", "full_name"}
CHOICES = {"status": STATUSES, "role": ROLES}

POST = Fields(
    "posts",
    ("title", "slug", "content", "status", "published_at", "tags"),
    ("title",),
    {"content": "", "status": "draft", "published_at": None},
    {},
)
ADMINS_POST = Fields("posts", ("user_id", *POST.fields), ("user_id", "title"), POST.defaults, {})
OWN_USER = Fields("users", ("username", "full_name"), (), {"full_name": None}, {})
JOINING = Fields("users", ("email", "username", "full_name", "password"), ("username",), {}, {})
ADMINS_USER = Fields(
    "users",
    ("email", "username", "full_name", "role", "is_active", "password"),
    ("username",),
    {"email": None, "full_name": None, "role": "member", "is_active": True},
    {},
)


def check(fields: Fields, row: Row, *, new: bool = False) -> list[Row]:
    """All that is wrong with the values of a row, before any row is looked at."""
    problems = [problem for name, value in row.items() if (problem := _problem(fields, name, value))]
    if new:
        problems += [is_null(fields.table, name) for name in fields.required if name not in row]
    return problems


def check_new(fields: Fields, rows: Sequence[Row]) -> None:
    for number, row in enumerate(rows, start=1):
        refuse(check(fields, row, new=True), f"row {number}: " if len(rows) > 1 else "")


def replaced(fields: Fields, row: Row, required: tuple[str, ...]) -> Row:
    """The row of a PUT: what it leaves out takes its default."""
    problems = check(fields, row)
    refuse(problems + [is_null(fields.table, name) for name in required if name not in row])
    return row | {name: value for name, value in fields.defaults.items() if name not in row}


def _problem(fields: Fields, name: str, value: object) -> Row | None:
    if name not in fields.fields:
        return no_column(fields.table, name, fields.near.get(name))
    if value is None and name not in NULLABLE:
        return is_null(fields.table, name)
    if isinstance(value, str) and len(value) > LENGTHS.get(name, len(value)):
        return too_long(fields.table, name, LENGTHS[name])
    if name in CHOICES and value not in CHOICES[name]:
        return no_choice(fields.table, name, CHOICES[name])
    return None


# ---- the one form of a text -----------------------------------------------------------------------------------------


def cleaned(row: Row, **forms: Callable[[str], str | Row]) -> Row:
    """The row with these texts in their form. Refuses it with all that have none."""
    out, problems = dict(row), []
    for name, form in forms.items():
        if isinstance(row.get(name), str):
            found = form(row[name])
            if isinstance(found, str):
                out[name] = found
            else:
                problems.append(found)
    refuse(problems)
    return out


def name_of(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def title_of(text: str) -> str | Row:
    return name_of(text) or body("22023", "a title cannot be empty", None, "Send 1 to 200 characters.")


def slug_of(text: str) -> str | Row:
    if re.fullmatch(r"[A-Za-z0-9._-]{1,200}", text):
        return text
    return body("22023", f'"{text}" is no slug', None, "A slug has 1 to 200 of A-Z, a-z, 0-9, dot, _ and -.")


def tag_of(text: str) -> str | Row:
    name = name_of(text)
    return name or body("22023", "a tag has 1 to 100 characters, not 0")


def username_of(text: str) -> str | Row:
    name = text.strip().lower()
    if re.fullmatch(r"[a-z0-9][a-z0-9_-]{1,49}", name):
        return name
    hint = "A username has 2 to 50 of a-z, 0-9, _ and -, and begins with a letter or a digit."
    return body("22023", f'"{name}" is no username', None, hint)


def email_of(text: str) -> str | Row:
    address = unicodedata.normalize("NFC", text).strip().lower()
    if re.fullmatch(r"[^@\s]+@[^@\s]+", address):
        return address
    hint = "Send an address such as ada@example.org, or null."
    return body("22023", "this is no e-mail address", None, hint)


def slug_from(title: str) -> str:
    folded = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", folded).strip("-") or "post"
