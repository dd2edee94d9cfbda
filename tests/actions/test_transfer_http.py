"""Transfers over HTTP: what is answered and refused on both surfaces, and that nothing else touches credits."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import httpx2
import pytest

from app.actions import ACTIONS
from app.data.database import Database
from app.data.rules import ANONYMOUS, SERVICE, Principal
from app.settings import Settings
from tests.accounts.conftest import Installation, add, opened, set_user
from tests.actions.conftest import Bank
from tests.conftest import EPOCH, Statements
from tests.http.asking import SURFACES, client_as

MOST = 2**53 - 1
UNKNOWN = 999_999_999


class Callers:
    """Clients by who asks, over one database."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings, self.database = settings, database

    async def post(self, who: Principal, path: str, body: Any, **more: Any) -> httpx2.Response:
        return await self.send(who, "POST", path, json=body, **more)

    async def send(self, who: Principal, method: str, path: str, **more: Any) -> httpx2.Response:
        async with client_as(who, self.settings, self.database, allow_rollback=True) as client:
            return await client.request(method, path, **more)


@pytest.fixture
def callers(settings: Settings, database: Database) -> Callers:
    return Callers(settings, database)


@pytest.fixture
async def service(settings: Settings, database: Database) -> AsyncGenerator[httpx2.AsyncClient]:
    async with client_as(SERVICE, settings, database) as client:
        yield client


def refusal(answer: httpx2.Response) -> tuple[int, str]:
    body = answer.json()
    assert list(body) == ["code", "message", "details", "hint"]
    return answer.status_code, body["code"]


# ---- what is answered -----------------------------------------------------------------------------------------------


@SURFACES
async def test_transfer_answers_its_row(bank: Bank, callers: Callers, prefix: str) -> None:
    body = {"to_user_id": bank.bob, "amount": 5, "note": "Thanks"}
    answer = await callers.post(bank.as_ada, f"{prefix}/rpc/transfer", body)
    assert answer.status_code == 200
    row = answer.json()
    assert row.pop("id") > 0
    assert row == {"from_user_id": bank.ada, **body, "created_at": EPOCH.isoformat()}
    assert await bank.balances() == [95, 25, 1]


@SURFACES
async def test_grant_answers_its_row(bank: Bank, service: httpx2.AsyncClient, prefix: str) -> None:
    answer = await service.post(f"{prefix}/rpc/grant", json={"to_user_id": bank.bob, "amount": 5})
    expected = {"from_user_id": None, "to_user_id": bank.bob, "amount": 5, "note": None, "created_by": None}
    assert answer.status_code == 200
    assert answer.json().items() >= expected.items()
    assert await bank.balances() == [100, 25, 1]


async def test_the_row_is_shaped_like_one_of_the_table(bank: Bank, callers: Callers) -> None:
    shape = "select=amount,sender(username,balance),receiver(username,balance)"
    body = {"amount": 5, "to_user_id": bank.bob}
    answer = await callers.post(bank.as_ada, f"/rest/v1/rpc/transfer?{shape}", body)
    ada, bob = {"username": "ada", "balance": 95}, {"username": "bob", "balance": None}
    assert answer.json() == {"amount": 5, "sender": ada, "receiver": bob}
    minimal = await callers.post(bank.as_ada, "/rpc/transfer", body, headers={"prefer": "return=minimal"})
    assert (minimal.status_code, minimal.content) == (204, b"")
    assert await bank.balances() == [90, 30, 1]


async def test_arguments_may_come_in_any_order_and_as_a_form(bank: Bank, callers: Callers) -> None:
    orders: list[dict[str, Any]] = [{"to_user_id": bank.bob, "amount": 1}, {"amount": 1, "to_user_id": bank.bob}]
    orders += [{"note": None, "amount": 1, "from_user_id": None, "to_user_id": bank.bob}]
    for body in orders:
        assert (await callers.post(bank.as_ada, "/rpc/transfer", body)).status_code == 200
    form = {"amount": "1", "to_user_id": str(bank.bob), "note": "x", "from_user_id": ""}
    assert (await callers.send(bank.as_ada, "POST", "/rpc/transfer", data=form)).status_code == 200
    assert await bank.balances() == [96, 24, 1]


def test_parameters_are_those_of_the_functions() -> None:
    known = {
        name: {p.name: (p.required, p.nullable) for p in action.parameters.values()}
        for name, action in ACTIONS.items()
        if name not in ("dashboard", "search")
    }
    must, may = (True, False), (False, True)
    assert known == {
        "transfer": {"to_user_id": must, "amount": must, "from_user_id": may, "note": may},
        "grant": {"to_user_id": must, "amount": must, "note": may},
        "balance_of": {"user_id": may},
        "statement": {"user_id": may, "before": may, "limit": (False, False)},
    }
    assert [name for name, action in ACTIONS.items() if not action.reads] == ["transfer", "grant"]


@pytest.mark.parametrize("amount", [5, "5", " 5 ", "+5"])
async def test_an_amount_is_a_whole_number_or_its_text(bank: Bank, callers: Callers, amount: Any) -> None:
    answer = await callers.post(bank.as_ada, "/rpc/transfer", {"to_user_id": bank.bob, "amount": amount})
    assert (answer.status_code, answer.json()["amount"]) == (200, 5)


async def test_a_transfer_undone_on_purpose_is_answered_and_not_kept(bank: Bank, callers: Callers) -> None:
    headers = {"prefer": "tx=rollback"}
    answer = await callers.post(
        bank.as_ada, "/rpc/transfer?select=amount", {"to_user_id": bank.bob, "amount": 5}, headers=headers
    )
    assert (answer.status_code, answer.json()) == (200, {"amount": 5})
    assert (await bank.balances(), await bank.moved()) == ([100, 20, 1], [])


async def test_transfers_of_a_batch_are_all_kept_or_none(bank: Bank, callers: Callers) -> None:
    def single(amount: int) -> dict[str, Any]:
        return {"method": "POST", "path": "/rpc/transfer", "body": {"to_user_id": bank.bob, "amount": amount}}

    answer = await callers.post(bank.as_ada, "/rest/v1/batch", [single(60), single(41)])
    assert refusal(answer) == (409, "BRD605")
    assert answer.json()["message"] == "requests[1]: insufficient funds"
    assert await bank.balances() == [100, 20, 1]
    asking = [single(60), {"path": "/rpc/balance_of"}, single(40), {"method": "POST", "path": "/rpc/balance_of"}]
    answer = await callers.post(bank.as_ada, "/batch", asking)
    assert [one["body"] for one in answer.json()[1::2]] == [40, 0]


async def test_a_transfer_takes_its_statements_and_one_for_its_answer(
    bank: Bank, callers: Callers, statements: Statements
) -> None:
    async with client_as(bank.as_ada, callers.settings, bank.database) as client:
        statements.clear()
        await client.post("/rpc/transfer", json={"to_user_id": bank.bob, "amount": 5})
    verbs = [statement.split()[0] for statement in statements.texts]
    moved = ["WITH"] if bank.database.name == "postgresql" else ["SAVEPOINT", "SELECT", "UPDATE", "INSERT", "RELEASE"]
    assert verbs == [*moved, "SELECT"]


# ---- what is refused ------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[dict[str, Any], str, int, int]] = {  # the code, the status of the dialect, that of /
    "to oneself": ({"to_user_id": "ada"}, "BRD601", 400, 422),
    "nothing": ({"amount": 0}, "BRD602", 400, 422),
    "less than nothing": ({"amount": -5}, "BRD602", 400, 422),
    "the least number": ({"amount": -(2**63)}, "BRD602", 400, 422),
    "2 to the 53": ({"amount": 2**53}, "BRD603", 400, 422),
    "the largest number": ({"amount": "9223372036854775807"}, "BRD603", 400, 422),
    "beyond the largest number": ({"amount": 2**63}, "22003", 400, 422),
    "a long number": ({"amount": "9" * 39}, "22003", 400, 422),
    "what nobody has": ({"amount": MOST}, "BRD605", 409, 409),
    "more than there is": ({"amount": 101}, "BRD605", 409, 409),
    "a fraction": ({"amount": 5.5}, "22P02", 400, 422),
    "a float": ({"amount": 5.0}, "22P02", 400, 422),
    "a boolean": ({"amount": True}, "22P02", 400, 422),
    "a text": ({"amount": "five"}, "22P02", 400, 422),
    "an exponent": ({"amount": "1e3"}, "22P02", 400, 422),
    "a list": ({"amount": [5]}, "22P02", 400, 422),
    "null": ({"amount": None}, "22004", 400, 422),
    "null as receiver": ({"to_user_id": None}, "22004", 400, 422),
    "nobody": ({"to_user_id": UNKNOWN}, "BRD604", 409, 409),
    "user 0": ({"to_user_id": 0}, "BRD604", 409, 409),
    "the last id": ({"to_user_id": 2**63 - 1}, "BRD604", 409, 409),
    "who is not active": ({"to_user_id": "idle"}, "BRD604", 409, 409),
    "from another": ({"from_user_id": "bob", "to_user_id": "ada"}, "42501", 403, 403),
    "from nobody": ({"from_user_id": UNKNOWN}, "42501", 403, 403),
    "a long note": ({"note": "x" * 501}, "22001", 400, 422),
}


@SURFACES
@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
async def test_refusals_have_their_code_and_status(
    bank: Bank, callers: Callers, case: tuple[dict[str, Any], str, int, int], prefix: str
) -> None:
    changed, code, rest, plain = case
    body = {"to_user_id": bank.bob, "amount": 1} | {name: _id(bank, value) for name, value in changed.items()}
    answer = await callers.post(bank.as_ada, f"{prefix}/rpc/transfer", body)
    assert refusal(answer) == (rest if prefix else plain, code)
    assert (await bank.balances(), await bank.moved()) == ([100, 20, 1], [])


def _id(bank: Bank, value: Any) -> Any:
    return getattr(bank, value) if isinstance(value, str) and hasattr(bank, value) else value


async def test_a_note_with_nul_is_refused(bank: Bank, callers: Callers) -> None:
    body = {"to_user_id": bank.bob, "amount": 1, "note": "a\x00b"}
    assert (await callers.post(bank.as_ada, "/rpc/transfer", body)).status_code in (400, 422)
    assert await bank.moved() == []


@SURFACES
async def test_a_visitor_is_asked_to_sign_in(bank: Bank, callers: Callers, prefix: str) -> None:
    for name in ("transfer", "grant"):
        body = {"to_user_id": bank.bob, "amount": 1}
        answer = await callers.post(ANONYMOUS, f"{prefix}/rpc/{name}", body)
        assert refusal(answer) == (401, "42501")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert await bank.moved() == []


@SURFACES
async def test_grants_are_for_admins(bank: Bank, callers: Callers, prefix: str) -> None:
    body = {"to_user_id": bank.ada, "amount": 1}
    assert refusal(await callers.post(bank.as_ada, f"{prefix}/rpc/grant", body)) == (403, "42501")
    assert (await callers.post(bank.as_root, f"{prefix}/rpc/grant", body)).status_code == 200


@SURFACES
async def test_the_secret_key_names_the_sender(bank: Bank, service: httpx2.AsyncClient, prefix: str) -> None:
    body = {"to_user_id": bank.bob, "amount": 1}
    answer = await service.post(f"{prefix}/rpc/transfer", json=body)
    assert refusal(answer) == (400 if prefix else 422, "22004")
    assert answer.json()["hint"] == "Name the account in from_user_id."
    assert (await service.post(f"{prefix}/rpc/transfer", json=body | {"from_user_id": bank.ada})).status_code == 200


@SURFACES
async def test_a_transfer_needs_its_arguments_and_post(bank: Bank, callers: Callers, prefix: str) -> None:
    for body in ({}, {"amount": 1}, {"to_user_id": bank.bob}, {"to_user_id": bank.bob, "amount": 1, "created_by": 1}):
        assert refusal(await callers.post(bank.as_ada, f"{prefix}/rpc/transfer", body)) == (404, "PGRST202")
    query = f"to_user_id={bank.bob}&amount=1"
    answer = await callers.send(bank.as_ada, "GET", f"{prefix}/rpc/transfer?{query}")
    assert refusal(answer) == (405, "25006")
    assert await bank.moved() == []


# ---- callers with tokens --------------------------------------------------------------------------------------------


@pytest.fixture
async def here(settings: Settings, database: Database) -> AsyncGenerator[Installation]:
    async with opened(settings, database) as found:
        yield found


async def test_a_signed_in_user_sends_from_the_own_account(here: Installation, bank: Bank) -> None:
    eve = await add(bank.database, "eve")
    who = (await here.sign_in(eve)).bearer
    give = {"to_user_id": eve.id, "amount": 9}
    assert (await here.client.post("/rpc/grant", json=give, headers=here.secret)).status_code == 200
    sent = await here.client.post("/rpc/transfer", json={"to_user_id": bank.bob, "amount": 4}, headers=who)
    assert (sent.status_code, sent.json()["from_user_id"]) == (200, eve.id)
    assert (await here.client.get("/rpc/balance_of", headers=who)).json() == 5
    assert (await here.client.get(f"/users/{eve.id}?select=balance", headers=who)).json() == {"balance": 5}


async def test_a_user_who_was_made_inactive_sends_nothing(here: Installation, bank: Bank) -> None:
    eve = await add(bank.database, "eve")
    who = (await here.sign_in(eve)).bearer
    give = {"to_user_id": eve.id, "amount": 9}
    assert (await here.client.post("/rpc/grant", json=give, headers=here.secret)).status_code == 200
    await set_user(bank.database, eve.id, is_active=False)
    sent = await here.client.post("/rpc/transfer", json={"to_user_id": bank.bob, "amount": 4}, headers=who)
    assert sent.status_code == 401
    assert await bank.balances() == [100, 20, 1]


# ---- nothing else moves credits -------------------------------------------------------------------------------------


@SURFACES
async def test_a_transfer_stays_as_it_is(bank: Bank, service: httpx2.AsyncClient, prefix: str) -> None:
    body = {"from_user_id": bank.ada, "to_user_id": bank.bob, "amount": 5}
    made = (await service.post(f"{prefix}/rpc/transfer", json=body)).json()["id"]
    filtered = f"{prefix}/transfers?id=eq.{made}"
    asked: list[tuple[str, str, Any]] = [
        ("POST", f"{prefix}/transfers", body),
        ("POST", f"{prefix}/transfers", body | {"id": made}),
    ]
    asked += [("PATCH", filtered, {"amount": 1}), ("PUT", filtered, body | {"id": made}), ("DELETE", filtered, None)]
    if not prefix:
        asked += [(method, f"/transfers/{made}", {"amount": 1}) for method in ("PATCH", "PUT", "DELETE")]
    for method, path, sent in asked:
        answer = await service.request(method, path, json=sent)
        assert answer.status_code in (403, 405), (method, path, answer.text)
    merging = {"prefer": "resolution=merge-duplicates"}
    assert (await service.post(f"{prefix}/transfers", json=body | {"id": made}, headers=merging)).status_code == 403
    assert await bank.moved() == [(bank.ada, bank.bob, 5)]
    assert await bank.balances() == [95, 25, 1]


@SURFACES
async def test_a_balance_is_written_by_no_other_way(bank: Bank, service: httpx2.AsyncClient, prefix: str) -> None:
    row, rich = f"{prefix}/users?id=eq.{bank.ada}", {"balance": 1_000}
    merging = {"prefer": "resolution=merge-duplicates"}
    asked = [
        await service.patch(row, json=rich),
        await service.patch(row, json=rich | {"full_name": "Ada"}),
        await service.put(row, json=rich | {"id": bank.ada, "username": "ada"}),
        await service.post(f"{prefix}/users", json=rich | {"username": "rich"}),
        await service.post(f"{prefix}/users", json=rich | {"id": bank.ada, "username": "ada"}, headers=merging),
        await service.post(f"{prefix}/batch", json=[{"method": "PATCH", "path": row[len(prefix) :], "body": rich}]),
    ]
    assert {refusal(answer) for answer in asked} == {(400 if prefix else 422, "PGRST204")}
    assert await bank.balances() == [100, 20, 1]


async def test_a_transfer_changes_no_version_and_no_condition(bank: Bank, service: httpx2.AsyncClient) -> None:
    """If-Match compares versions, and a version that one has read before a transfer is still that of the row."""
    path = f"/users/{bank.ada}"
    before = await service.get(f"{path}?select=version,updated_at")
    history = (await service.get("/revisions?select=id&order=id")).json()
    await service.post("/rpc/transfer", json={"from_user_id": bank.ada, "to_user_id": bank.bob, "amount": 5})
    after = await service.get(f"{path}?select=version,updated_at")
    assert (after.content, after.headers["etag"]) == (before.content, before.headers["etag"])
    assert (await service.get("/revisions?select=id&order=id")).json() == history
    changed = await service.patch(path, json={"full_name": "Ada"}, headers={"if-match": before.headers["etag"]})
    assert (changed.status_code, changed.json()["balance"]) == (200, 95)


async def test_a_user_goes_only_without_credits(bank: Bank, service: httpx2.AsyncClient) -> None:
    path = f"/users/{bank.bob}"
    assert refusal(await service.delete(path)) == (409, "BRD409")
    body = {"from_user_id": bank.bob, "to_user_id": bank.ada, "amount": 20}
    assert (await service.post("/rpc/transfer", json=body)).status_code == 200
    assert (await service.delete(path)).status_code in (200, 204)
    back = {"from_user_id": bank.ada, "to_user_id": bank.bob, "amount": 20}
    assert refusal(await service.post("/rpc/transfer", json=back)) == (409, "BRD604")


# ---- how it is described --------------------------------------------------------------------------------------------


async def test_functions_of_credits_are_described(service: httpx2.AsyncClient) -> None:
    paths = (await service.get("/openapi.json")).json()["paths"]
    body = paths["/rpc/transfer"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["required"] == ["to_user_id", "amount"]
    assert set(body["properties"]) == {"to_user_id", "amount", "from_user_id", "note"}
    assert paths["/rpc/transfer"]["post"]["summary"].startswith("Sends credits from the own account")
    writing = {name for name in ("transfer", "grant", "balance_of", "statement") if "get" not in paths[f"/rpc/{name}"]}
    assert writing == {"transfer", "grant"}
    assert "/rpc/transfer" in (await service.get("/rest/v1/")).json()["paths"]
