"""Clients that differ from the usual one: with other settings, or as somebody else."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from app.data.database import Database
from app.data.rules import SERVICE, Principal
from app.http.app import create_app
from app.settings import Limits, Settings
from tests.http.conftest import client_of

SURFACES = pytest.mark.parametrize("prefix", ["", "/rest/v1"], ids=["plain", "rest"])
REST = "/rest/v1"
OBJECT = "application/vnd.pgrst.object+json"


@asynccontextmanager
async def client_as(
    who: Principal, settings: Settings, database: Database, **changes: Any
) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client whose caller is `who`; `changes` are settings, `limits` a dict of limits."""

    async def authenticate(headers: Any, database: Database) -> Principal:
        return who

    limits = Limits(**changes.pop("limits", {}))
    app = create_app(replace(settings, limits=limits, **changes), authenticate=authenticate, database=database)
    async with client_of(app) as client:
        yield client


@asynccontextmanager
async def service_client(settings: Settings, database: Database, **changes: Any) -> AsyncGenerator[httpx2.AsyncClient]:
    async with client_as(SERVICE, settings, database, **changes) as client:
        yield client


def prefer(*preferences: str) -> dict[str, str]:
    return {"prefer": ", ".join(preferences)}


async def make_tags(client: httpx2.AsyncClient, headers: Any, *names: str) -> list[int]:
    """Ids of new tags."""
    rows = [{"name": name} for name in names]
    response = await client.post("/tags?select=id", json=rows, headers=headers)
    assert response.status_code == 201, response.text
    return [row["id"] for row in response.json()]
