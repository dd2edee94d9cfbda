"""No method of the Python client's accounts is left out of these tests: each is called, if only to be refused, as those
of `test_auth_refusals.METHODS`.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import httpx
from supabase_auth import AsyncGoTrueClient

from tests.clients.test_auth_refusals import METHODS

HERE = Path(__file__).parent
SOURCES = "\n".join(path.read_text() for path in sorted((*HERE.glob("test_auth_*.py"), HERE / "accounts.py")))


async def test_every_method_is_called() -> None:
    async with httpx.AsyncClient() as http:
        auth = AsyncGoTrueClient(http_client=http)
        parts = {"": auth, "admin.": auth.admin, "mfa.": auth.mfa}
        parts |= {"admin.mfa.": auth.admin.mfa, "admin.oauth.": auth.admin.oauth}
        names = {prefix + name for prefix, part in parts.items() for name in methods_of(part)}
    assert len(names) > 45
    assert set(METHODS) <= names
    assert {name for name in names if not is_called(name)} == set()


def methods_of(part: Any) -> set[str]:
    """`close` is the end of `async with`."""
    return {name for name, _ in inspect.getmembers(part, callable) if not name.startswith("_") and name != "close"}


def is_called(name: str) -> bool:
    return re.search(rf"\bauth\.{re.escape(name)}\(", SOURCES) is not None
