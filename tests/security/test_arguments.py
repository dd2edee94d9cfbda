"""Functions take the arguments that they declare and no others, and a batch the fields that it knows: not the session,
not the caller, not a column.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from app.actions import ACTIONS
from app.http.batch import Batch, Single
from app.query.functions import Action
from app.resources import CATALOG
from tests.accounts.conftest import Installation
from tests.security.callers import KINDS
from tests.security.fields import small_world
from tests.security.probes import SURFACES
from tests.security.worlds import keep

# what each function needs
GIVEN = {
    "search": {"q": "text"},
    "transfer": {"to_user_id": "2", "amount": "1"},
    "grant": {"to_user_id": "2", "amount": "1"},
}
INSIDE = ["session", "who", "principal", "role", "catalog", "unit", "self", "args", "kwargs", "user_id", "now"]


def unknown_names(action: Action) -> list[str]:
    """The names of its own first parameter, of all columns, and of what the inside of the service has."""
    hidden = next(iter(inspect.signature(action.function).parameters))
    columns = {name for resource in CATALOG for name in resource.columns}
    return sorted({hidden, *columns, *INSIDE} - action.parameters.keys())


def calls(name: str, argument: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(method, path, what httpx takes) of every way to send this argument."""
    given = GIVEN.get(name, {}) | {argument: "1"}
    for surface in SURFACES:
        path = f"{surface}rpc/{name}"
        yield "GET", f"{path}?{urlencode(given)}", {}
        yield "POST", path, {"json": given}
        yield "POST", path, {"json": [given]}
        yield "POST", path, {"data": given}
    batched = {"path": f"/rpc/{name}", "method": "POST", "body": given}
    yield "POST", "/batch", {"json": {"requests": [batched]}}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("caller", ["nobody", "author"])
@pytest.mark.parametrize("name", ACTIONS)
async def test_an_argument_that_is_not_declared_is_refused(
    here: Installation, hashed: str, name: str, caller: str
) -> None:
    await keep(here.database, small_world(hashed))
    who = await KINDS[caller].headers(here)
    for argument in unknown_names(ACTIONS[name]):
        for method, path, sent in calls(name, argument):
            answer = await here.client.request(method, path, headers=who, **sent)
            assert (answer.status_code, answer.json()["code"]) == (404, "PGRST202"), (argument, method, path)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("field", [*INSIDE, "apikey", "authorization", "client", "scope"])
async def test_a_field_that_a_batch_does_not_know_is_refused(here: Installation, field: str) -> None:
    single = {"path": "/posts"}
    for body in ({"requests": [single], field: "admin"}, {"requests": [{**single, field: "admin"}]}):
        answer = await here.client.post("/batch", json=body, headers=here.secret)
        assert (answer.status_code, answer.json()["code"]) == (400, "PGRST102"), body


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", ["apikey", "Authorization", "APIKEY"])
async def test_a_request_of_a_batch_brings_no_key(here: Installation, name: str) -> None:
    single = {"path": "/events", "headers": {name: here.keys.secret}}
    answer = await here.client.post("/batch", json={"requests": [single]})
    assert (answer.status_code, answer.json()["code"]) == (400, "PGRST102")


def test_what_is_read_from_a_body_forbids_unknown_fields() -> None:
    assert all(struct.__struct_config__.forbid_unknown_fields for struct in (Batch, Single))
