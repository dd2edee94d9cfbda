"""Regular expressions for SQLite by RE2, which runs in time that grows with the text alone; Python's own could be
stopped for ever.

Without the package google-re2 there are none: `RE2` is None, and those who ask are refused.
"""

from __future__ import annotations

import importlib
import importlib.util
from functools import lru_cache
from typing import Any

RE2: Any = importlib.import_module("re2") if importlib.util.find_spec("re2") else None
MEMORY = 1 << 20  # bytes that one compiled pattern may take


def search(pattern: str | None, text: str | None, ignore_case: int) -> int | None:
    """Whether the pattern matches somewhere in the text: 1, 0, or None for NULL."""
    if pattern is None or text is None:
        return None
    return int(compiled(pattern, bool(ignore_case)).search(text) is not None)


@lru_cache(maxsize=256)
def compiled(pattern: str, ignore_case: bool = False) -> Any:
    """Raises RE2.error."""
    options = RE2.Options()
    options.log_errors = False
    options.max_mem = MEMORY
    options.case_sensitive = not ignore_case
    options.dot_nl = True  # as PostgreSQL has it: a point matches the end of a line
    return RE2.compile(pattern, options=options)
