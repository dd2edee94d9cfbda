"""Text from foreign files: strict UTF-8, one kind of line end, nothing that a database cannot store."""

import re
import unicodedata
from pathlib import Path

from app.importers.records import Refused

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_SHOWN = 60


def load(path: Path, limit: int) -> str:
    """Read a file of at most `limit` bytes. Raises Refused, and OSError where it cannot be read."""
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise Refused(f"the file is larger than {limit >> 20} MiB")
    return decode(data)


def decode(data: bytes) -> str:
    """Decode UTF-8 without NUL; a byte order mark is dropped, and each line ends in a line feed."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused("the file is not UTF-8", _line(data, error.start)) from error
    if "\x00" in text:
        raise Refused("the file contains U+0000", _line(data, data.index(0)))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def storable(text: str, what: str) -> str:
    """Return the text, or raise Refused for U+0000 and lone surrogates, which PostgreSQL and UTF-8 do not take."""
    found = _UNSTORABLE.search(text)
    if found:
        raise Refused(f"{what} contains U+{ord(found[0]):04X}")
    return text


def one_line(text: str) -> str:
    """NFC, trimmed, each run of white space one space."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def shown(text: str) -> str:
    """Foreign text for a message: quoted, escaped and cut."""
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")


def _line(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1
