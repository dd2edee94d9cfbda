"""Stores to read from."""

from __future__ import annotations

import pytest

from tests.data.shelf import Shelf


@pytest.fixture
def shelf() -> Shelf:
    shelf = Shelf({key: f"row {key}" for key in range(100)})
    shelf.door.set()
    return shelf


@pytest.fixture
def closed(shelf: Shelf) -> Shelf:
    shelf.door.clear()
    return shelf
