"""The header Prefer: what a caller wishes, and the header Preference-Applied that says what was honoured. Source:
dialect 1.11.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, tzinfo
from functools import lru_cache

from starlette.datastructures import Headers

from app.errors import BadQuery
from app.http.zones import is_utc, zone_named

LONGEST = 1024
KEPT = 100  # headers
CHOICES = {
    "resolution": ("merge-duplicates", "ignore-duplicates"),
    "missing": ("default", "null"),
    "return": ("minimal", "headers-only", "representation"),
    "count": ("exact", "planned", "estimated"),
    "tx": ("commit", "rollback"),
    "handling": ("lenient", "strict"),
}


@dataclass(frozen=True, slots=True)
class Prefer:
    """None where the caller has no preference. `refused` are those that this service does not know."""

    resolution: str | None = None
    missing: str | None = None
    returns: str | None = None
    count: str | None = None
    tx: str | None = None
    handling: str | None = None
    timezone: str | None = None
    max_affected: int | None = None
    refused: tuple[str, ...] = ()

    @property
    def strict(self) -> bool:
        return self.handling == "strict"

    @property
    def most(self) -> int | None:
        """How many rows may be affected: asked for only together with handling=strict."""
        return self.max_affected if self.strict else None

    def check(self) -> None:
        """Raises PGRST122 under handling=strict, 22023 for a time zone that does not exist."""
        if self.refused and self.strict:
            message = "Invalid preferences given with handling=strict"
            raise BadQuery(message, code="PGRST122", details=f"Invalid preferences: {', '.join(self.refused)}")
        if self.timezone is not None and not is_utc(self.timezone) and zone_named(self.timezone) is None:
            raise BadQuery(f'invalid value for parameter "TimeZone": "{self.timezone}"', code="22023")

    def applied(self, method: str, *, keyed: bool = False, tx: bool = False) -> dict[str, str]:
        """The header Preference-Applied. `keyed` says that a resolution had rows to resolve, `tx` that the caller may
        choose how the transaction ends.
        """
        if self is NONE:
            return {}
        named = (
            ("resolution", self.resolution if method == "POST" and keyed else None),
            ("missing", self.missing if method in ("POST", "PATCH") else None),
            ("return", self.returns if method not in ("GET", "HEAD") else None),
            ("count", self.count),
            ("tx", self.tx if tx else None),
            ("handling", self.handling),
            ("timezone", self.timezone),
            ("max-affected", self.most if method not in ("GET", "HEAD", "PUT") else None),
        )
        text = ", ".join(f"{name}={value}" for name, value in named if value is not None)
        return {"Preference-Applied": text} if text else {}


NONE = Prefer()


def prefer_of(headers: Headers) -> Prefer:
    """The first value of each preference counts; what is unknown is noted. Raises BadQuery for a header that is too
    long.
    """
    given = headers.getlist("prefer")
    if not given:
        return NONE
    if sum(map(len, given)) > LONGEST:
        raise BadQuery(f"the header Prefer is longer than {LONGEST} bytes")
    return _read(tuple(given))


@lru_cache(maxsize=KEPT)
def _read(given: tuple[str, ...]) -> Prefer:
    found: dict[str, str] = {}
    refused: list[str] = []
    for text in filter(None, (part.strip() for line in given for part in line.split(","))):
        name, _, value = text.partition("=")
        name, value = name.strip().lower(), value.partition(";")[0].strip(' "')
        if _is_known(name, value):
            found.setdefault(name, value)
        else:
            refused.append(text)
    most = found.get("max-affected")
    return Prefer(
        resolution=found.get("resolution"),
        missing=found.get("missing"),
        returns=found.get("return"),
        count=found.get("count"),
        tx=found.get("tx"),
        handling=found.get("handling"),
        timezone=found.get("timezone"),
        max_affected=None if most is None else int(most),
        refused=tuple(refused),
    )


def _is_known(name: str, value: str) -> bool:
    if name == "max-affected":
        return value.isascii() and value.isdigit() and len(value) <= 18
    return value in CHOICES.get(name, ()) or (name == "timezone" and value != "")


def zone_of(headers: Headers) -> tzinfo:
    """The zone that a request prefers. One that does not exist is refused later, in the order of checks."""
    if "prefer" not in headers or not any("timezone" in line.lower() for line in headers.getlist("prefer")):
        return UTC
    name = prefer_of(headers).timezone
    return UTC if name is None or is_utc(name) else zone_named(name) or UTC
