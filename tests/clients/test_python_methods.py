"""No method of the async Python client is left out of these tests."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from postgrest import AsyncPostgrestClient, AsyncSelectRequestBuilder
from postgrest._async.request_builder import AsyncRequestBuilder, AsyncRPCFilterRequestBuilder

SOURCES = "\n".join(path.read_text() for path in sorted(Path(__file__).parent.glob("*.py")))
NOT_CALLED = {"from_table", "aclose"}  # deprecated; the end of `async with`


@pytest.mark.parametrize(
    "kind", [AsyncPostgrestClient, AsyncRequestBuilder, AsyncSelectRequestBuilder, AsyncRPCFilterRequestBuilder]
)
def test_every_method_is_called(kind: type) -> None:
    names = {name for name, _ in inspect.getmembers(kind) if not name.startswith("_")} - NOT_CALLED
    assert len(names) > 4
    assert {name for name in names if not re.search(rf'[."]{name}\b', SOURCES)} == set()
