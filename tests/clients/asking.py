"""Short ways to ask through the Python client, and to be refused."""

from __future__ import annotations

from typing import Any

import pytest
from postgrest import APIError


async def data(query: Any) -> Any:
    """The rows, the row or the text of an answer."""
    return (await query.execute()).data


async def counted(query: Any) -> tuple[Any, int | None]:
    found = await query.execute()
    return found.data, found.count


async def refused(query: Any, code: str) -> APIError:
    """The error of a request that is answered with this code."""
    with pytest.raises(APIError) as caught:
        await query.execute()
    assert caught.value.code == code, caught.value
    return caught.value
