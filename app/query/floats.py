"""Numbers as `double precision` and `real`, written as PostgreSQL writes them: the shortest digits that come back as
the same number, with an exponent where it is below -4 or beyond the type's sure digits.
"""

from __future__ import annotations

import struct
from decimal import Decimal

from app.errors import BadQuery

SURE = {"double precision": 15, "real": 6}  # decimal digits


def written(number: Decimal, type_: str) -> str:
    """Raises BadQuery 22003 for a number that is too large or too close to zero."""
    found = float(number) if type_ == "double precision" else _single(float(number))
    if abs(found) == float("inf") or (found == 0) is not (number == 0):
        raise BadQuery(f'"{number}" is out of range for type {type_}', code="22003")
    shortest = Decimal(repr(found) if type_ == "double precision" else _digits(found))
    exponent = shortest.adjusted() if number else 0
    if -4 <= exponent < SURE[type_]:
        fixed = format(shortest, "f")
        return fixed.rstrip("0").rstrip(".") if "." in fixed else fixed
    first, rest = (text := "".join(map(str, shortest.as_tuple().digits)).rstrip("0"))[0], text[1:]
    return f"{'-' if found < 0 else ''}{first}{'.' if rest else ''}{rest}e{exponent:+03d}"


def _single(number: float) -> float:
    """The nearest number of four bytes."""
    try:
        found: float = struct.unpack("f", struct.pack("f", number))[0]
    except OverflowError:
        return float("inf")
    return found


def _digits(number: float) -> str:
    """The shortest text from which the same number of four bytes comes back."""
    return next(text for n in range(9) if _single(float(text := f"{number:.{n}e}")) == number)
