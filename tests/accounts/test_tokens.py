"""Access tokens: every forged one is refused, times count within 30 s, and what a right one says."""

from __future__ import annotations

import json
import math
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from app.accounts import signing
from app.accounts.people import Account
from app.data.database import Database
from app.data.rules import SYSTEM
from tests.accounts.conftest import Installation, Installed
from tests.accounts.forging import LEFT_OUT, NOW, Forge, decoded, encoded, es256, forge_of, hs256, opens
from tests.conftest import EPOCH, Clock

pytestmark = pytest.mark.usefixtures("quick")

OTHER = ec.generate_private_key(ec.SECP256R1())
RETIRED = "0123456789abcdef"


# ---- forged ---------------------------------------------------------------------------------------------------------


def of_algorithms(f: Forge) -> dict[str, str]:
    """The key decides how it is verified, not the header."""
    found = {
        f"alg {name} without a signature": f.made({"alg": name}, sign=lambda _: b"")
        for name in ("none", "None", "NONE", "nOnE", "", "ES256", "HS256")
    }
    names: list[Any] = ["none", "HS256", "ES384", "ES512", "ES256K", "RS256", "PS256", "EdDSA", "es256"]
    for alg in (*names, ["ES256"], None, 5):
        found[f"alg {alg} over a right signature"] = f.made({"alg": alg})
    found["no alg"] = f.made({"alg": LEFT_OUT})
    x = decoded(json.loads(jwt.algorithms.ECAlgorithm.to_jwk(f.public))["x"])
    secrets = {"PEM": f.pem, "PEM without its last line end": f.pem.strip(), "DER": f.der, "x": x, "nothing": b""}
    jwk = jwt.algorithms.ECAlgorithm.to_jwk(f.public).encode()
    for name, secret in (secrets | {"JWK": jwk, "kid": f.header["kid"].encode()}).items():
        found[f"HS256 with the {name} of the public key"] = f.made({"alg": "HS256"}, sign=hs256(secret))
        found[f"ES256 said, HS256 made with the {name}"] = f.made(sign=hs256(secret))
    return found


def of_keys(f: Forge) -> dict[str, str]:
    found = {
        f"kid {kid!r}": f.made({"kid": kid})
        for kid in (None, "", "unknown", 0, ["x"], "../../dev/null", "' or 1=1 --", "None", f.header["kid"].upper())
    }
    found["no kid"] = f.made({"kid": LEFT_OUT})
    found["kid of a retired key"] = f.made({"kid": RETIRED}, sign=es256(OTHER))
    found["another key with our kid"] = f.made(sign=es256(OTHER))
    public = jwt.algorithms.ECAlgorithm.to_jwk(OTHER.public_key(), as_dict=True)
    own = es256(OTHER)
    found["jwk of another key"] = f.made({"jwk": public}, sign=own)
    found["jwk of another key and no kid"] = f.made({"jwk": public, "kid": LEFT_OUT}, sign=own)
    for name, value in (("jku", "https://evil.example/jwks"), ("x5u", "https://evil.example/cert"), ("x5c", ["MIIB"])):
        found[f"{name} and another key"] = f.made({name: value}, sign=own)
        found[f"{name} and the right key"] = f.made({name: value})
    for crit in (["exp"], ["b64"], [], "exp", None):
        found[f"crit {crit}"] = f.made({"crit": crit})
    found["b64 false"] = f.made({"b64": False})
    found["b64 false and crit"] = f.made({"b64": False, "crit": ["b64"]})
    for typ in ("at+jwt", "JWE", "", None, 5, ["JWT"]):
        found[f"typ {typ!r}"] = f.made({"typ": typ})
    return found


def of_claims(f: Forge) -> dict[str, str]:
    wrong: dict[str, list[Any]] = {
        "aud": ["anon", "", None, 5, ["anon"], [], {"authenticated": True}],
        "iss": ["https://evil.example/auth/v1", f.claims["iss"] + "/", "", None, 5, [f.claims["iss"]]],
        "exp": [None, "", str(NOW + 60), "tomorrow", True, math.nan, math.inf, -math.inf, 10**400, [NOW + 60], {}],
        "iat": [None, str(NOW), True, math.nan, math.inf, [], NOW + 31, 10**400],
        "nbf": [str(NOW), True, math.nan, [], NOW + 31],
        "sub": [None, "", "ada", "1", 1, ["x"], {}, str(uuid4()), "00000000-0000-0000-0000-000000000000"],
        "session_id": [None, "", "x", 1, [], str(uuid4()), f.claims["sub"]],
    }
    found = {f"{name} {value!r:.40}": f.made(claims={name: value}) for name in wrong for value in wrong[name]}
    for name in ("aud", "iss", "exp", "iat", "sub", "session_id"):
        found[f"no {name}"] = f.made(claims={name: LEFT_OUT})
    found["exp long ago"] = f.made(claims={"exp": NOW - 3600})
    found["exp before 1970"] = f.made(claims={"exp": -1})
    found["exp 0"] = f.made(claims={"exp": 0})
    return found


def of_texts(f: Forge, right: str) -> dict[str, str]:
    header, claims, signature = right.split(".")
    later = encoded(json.dumps(f.claims | {"exp": NOW + 10**6}).encode())
    private: Any = f.sign
    content = f"{header}.{claims}".encode()
    flipped = bytes([decoded(signature)[0] ^ 1]) + decoded(signature)[1:]
    der = OTHER.sign(content, ec.ECDSA(SHA256()))
    return {
        "nothing": "",
        "points": "..",
        "one part": header,
        "2 parts": f"{header}.{claims}",
        "4 parts": f"{right}.x",
        "5 parts": f"{right}.x.y",
        "an empty signature": f"{header}.{claims}.",
        "an empty header": f".{claims}.{signature}",
        "empty claims": f"{header}..{signature}",
        "a character less": right[:-1],
        "half": right[: len(right) // 2],
        "a character more": right + "A",
        "padding": right + "=",
        "white space inside": f"{header}. {claims}.{signature}",
        "claims of another token": f"{header}.{later}.{signature}",
        "a header of another token": f"{encoded(json.dumps(f.header | {'x': 1}).encode())}.{claims}.{signature}",
        "a signature of another token": f"{header}.{claims}.{encoded(private(b'something else'))}",
        "a flipped bit in the signature": f"{header}.{claims}.{encoded(flipped)}",
        "a signature of zeros": f"{header}.{claims}.{encoded(bytes(64))}",
        "a signature of r alone": f"{header}.{claims}.{encoded(decoded(signature)[:32])}",
        "a signature in DER": f"{header}.{claims}.{encoded(der)}",
        "a signature with zeros in front": f"{header}.{claims}.{encoded(bytes(2) + decoded(signature))}",
        "17 kB": f.made(claims={"user_metadata": {"x": "x" * 17_000}}),
        "letters outside ASCII": "\xfc\xfc.\xfc\xfc.\xfc\xfc",
        "claims that are a list": f.raw(claims=b"[]"),
        "claims that are a number": f.raw(claims=b"5"),
        "claims that are no JSON": f.raw(claims=b"{"),
        "claims that are deep": f.raw(claims=b"[" * 5000 + b"]" * 5000),
        "a header that is a list": f.raw(header=b"[]"),
        "a header that is deep": f.raw(header=b'{"a":' * 3000 + b"1" + b"}" * 3000),
        "a header with a long number": f.raw(header=b'{"alg":"ES256","x":' + b"9" * 6000 + b"}"),
        "a header that is no UTF-8": f.raw(header=b'{"alg":"\xff"}'),
    }


async def retire_a_key(database: Database) -> None:
    """OTHER was one of ours once."""
    values = {"kid": RETIRED, "algorithm": "ES256", "private_key": "x", "created_at": EPOCH, "retired_at": EPOCH}
    jwk = jwt.algorithms.ECAlgorithm.to_jwk(OTHER.public_key(), as_dict=True)
    async with database.writing(SYSTEM) as session:
        await session.execute(signing.KEYS.insert().values(**values, public_key=jwk))


async def test_every_forged_token_is_refused(here: Installation, ada: Account) -> None:
    """By REST with 401 and by the account API with 403, and never by a fault."""
    await retire_a_key(here.database)
    forge, signed = await forge_of(here, ada)
    cases = of_algorithms(forge) | of_keys(forge) | of_claims(forge) | of_texts(forge, signed.access_token)
    cases["a refresh token"] = signed.refresh_token
    assert await opens(here, signed.access_token) == (200, 200), "the right one"
    assert await opens(here, forge.made()) == (200, 200), "the right one, made here"
    answers = {name: await opens(here, text) for name, text in cases.items()}
    accepted = [name for name, answer in answers.items() if 200 in answer]
    print(f"tokens: {len(cases)} cases, accepted wrongly {len(accepted)}")
    without = {"nothing": (401, 401)}  # no Bearer at all, to the account API
    expected = {name: without.get(name, (401, 403)) for name in cases}
    assert answers == expected
    assert len(cases) > 120


async def test_token_of_another_installation_is_refused(here: Installation, installed: Installed, ada: Account) -> None:
    """Which has another ring, or the same one under another name."""
    forge, signed = await forge_of(here, ada)
    elsewhere = forge.made(claims={"iss": "http://elsewhere.example/auth/v1"})
    assert await opens(here, elsewhere) == (401, 403)
    async with installed(more={"public_url": "http://elsewhere.example"}) as there:
        assert await opens(there, signed.access_token) == (401, 403)
        assert await opens(there, elsewhere) == (200, 200)


async def test_token_with_the_session_of_another_user_is_refused(
    here: Installation, ada: Account, bob: Account
) -> None:
    forge, _ = await forge_of(here, ada)
    theirs = await here.sign_in(bob)
    for claims in ({"session_id": str(theirs.uid)}, {"sub": str(bob.uid)}):
        assert await opens(here, forge.made(claims=claims)) == (401, 403)


async def test_refusal_says_what_is_wrong_and_what_to_send(here: Installation, ada: Account, clock: Clock) -> None:
    signed = await here.sign_in(ada)
    answer = await here.client.get("/posts", headers={"authorization": f"Bearer {signed.access_token}x"})
    assert answer.json() == {
        "code": "PGRST301",
        "message": "JWT couldn't be decoded",
        "details": None,
        "hint": "Sign in again, or send a key in the header apikey.",
    }
    clock.advance(4000)
    answer = await here.client.get("/posts", headers=signed.bearer)
    assert (answer.json()["code"], answer.json()["message"]) == ("PGRST303", "JWT expired")
    assert answer.headers["www-authenticate"] == "Bearer"


# ---- times ----------------------------------------------------------------------------------------------------------


TIMES: list[tuple[dict[str, Any], bool]] = [
    ({"exp": NOW + 1}, True),
    ({"exp": NOW}, True),
    ({"exp": NOW - 29}, True),
    ({"exp": NOW - 29.5}, True),
    ({"exp": NOW - 30}, False),
    ({"exp": NOW - 31}, False),
    ({"iat": NOW + 30}, True),
    ({"iat": NOW + 31}, False),
    ({"nbf": NOW - 1000}, True),
    ({"nbf": NOW + 30}, True),
    ({"nbf": NOW + 31}, False),
]


async def test_times_count_within_thirty_seconds(here: Installation, ada: Account) -> None:
    forge, _ = await forge_of(here, ada)
    for claims, accepted in TIMES:
        assert await opens(here, forge.made(claims=claims)) == ((200, 200) if accepted else (401, 403)), claims


async def test_token_that_was_right_once_expires_all_the_same(here: Installation, ada: Account, clock: Clock) -> None:
    """Its signature is not checked again; its time is."""
    signed = await here.sign_in(ada)
    for wait, accepted in ((0, True), (3599, True), (30, True), (1, False)):
        clock.advance(wait)
        assert await opens(here, signed.access_token) == ((200, 200) if accepted else (401, 403))


# ---- what a token says ----------------------------------------------------------------------------------------------


async def test_claims_are_those_of_the_original(here: Installation, ada: Account) -> None:
    forge, signed = await forge_of(here, ada)
    assert forge.header == {"alg": "ES256", "typ": "JWT", "kid": forge.header["kid"]}
    assert forge.claims == {
        "iss": "http://127.0.0.1:8000/auth/v1",
        "sub": str(ada.uid),
        "aud": "authenticated",
        "exp": NOW + 3600,
        "iat": NOW,
        "email": "ada@example.org",
        "phone": "",
        "role": "authenticated",
        "aal": "aal1",
        "amr": [{"method": "password", "timestamp": NOW}],
        "session_id": str(signed.uid),
        "is_anonymous": False,
        "app_metadata": {"provider": "email", "providers": ["email"], "user_id": ada.id},
        "user_metadata": {},
    }


async def test_a_token_says_nothing_of_what_its_user_may(here: Installation, ada: Account) -> None:
    """Claims that another server would believe change nothing."""
    forge, _ = await forge_of(here, ada)
    token = forge.made(claims={"role": "service_role", "app_metadata": {"role": "admin", "user_id": 1}})
    shown = await here.client.get("/users?select=role", headers={"authorization": f"Bearer {token}"})
    assert shown.json()["code"] == "42703"


async def test_token_wins_over_the_key_beside_it(here: Installation, ada: Account, draft: int) -> None:
    """Also over the secret one: the client that signs somebody in goes on sending its key."""
    signed = await here.sign_in(ada)
    for key in (here.keys.publishable, here.keys.secret):
        made = await here.client.post("/tags", json={"name": key[:9]}, headers=signed.bearer | {"apikey": key})
        assert made.status_code == 201
    answer = await here.client.get("/events", headers=signed.bearer | here.secret)
    assert answer.status_code == 404


async def test_wrong_key_beside_a_right_token_is_refused(here: Installation, ada: Account) -> None:
    signed = await here.sign_in(ada)
    answer = await here.client.get("/posts", headers=signed.bearer | {"apikey": "sb_secret_wrong"})
    assert answer.status_code == 401
