"""Prints `docs/rules.md` from the catalog: `python -m tests.rules_page > docs/rules.md`. A test fails when the page
is not this text.
"""

from __future__ import annotations

from collections.abc import Iterator

from app.data.catalog import Catalog, Resource
from app.data.rules import VIEWS, Role
from app.resources import CATALOG

HEAD = """# Who sees and changes what

Generated from `app/policy.py` (`python -m tests.rules_page > docs/rules.md`).

Four views exist. Requests without a key, or with the publishable key, are *anonymous*; users are *member*, *author*
or *admin*; the secret key and the system see and change what an admin does. **read**: the column exists for the view.
**mask**: it exists, and is null but in the caller's own row, in output, filters and order alike. **write**: a payload
may set it; **new**: a payload may give it to a row that is not there yet (sign-up). A column without an entry does not
exist for the view: it answers exactly as a name that was never there. A soft-deleted row is absent but for those who
filter by `deleted_at` and may.
"""


def render(catalog: Catalog) -> str:
    return "\n".join([HEAD, *(line for resource in catalog for line in _resource(resource))])


def _resource(resource: Resource) -> Iterator[str]:
    rule = resource.rule
    yield f"## {resource.name}\n"
    for title, test in (("Visible rows", rule.visible), ("Changeable rows", rule.writable)):
        yield f"- {title}: {_first_line(test.__doc__)}."
    yield f"- Insert: {_roles(rule.inserts)}. Remove: {_roles(rule.removes)}."
    yield f"- History: {'every change is a revision' if rule.revised else 'none'}.\n"
    yield "| column | " + " | ".join(VIEWS) + " |"
    yield "|---" * (len(VIEWS) + 1) + "|"
    for name in resource.columns:
        yield f"| {name} | " + " | ".join(_access(resource, name, view) for view in VIEWS) + " |"
    for name, (_, roles) in rule.extra.items():
        words = ("write" if view in roles else "new" if name in rule.joining else "" for view in VIEWS)
        yield f"| {name} (only written) | " + " | ".join(words) + " |"
    yield ""


def _access(resource: Resource, name: str, view: Role) -> str:
    column = resource.rule.columns[name]
    words = []
    if view in column.read:
        words.append("read" if resource.rule.mask(name, view) is None else "mask")
    if view in column.write and (view in resource.rule.inserts or resource.rule.writable.__name__ != "nothing"):
        words.append("write")
    elif name in resource.rule.joining and view in resource.rule.inserts:
        words.append("new")
    return ", ".join(words)


def _roles(roles: frozenset[Role]) -> str:
    return ", ".join(view for view in VIEWS if view in roles) or "nobody"


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


if __name__ == "__main__":
    print(render(CATALOG), end="")
