"""The Python client: links and codes by mail, and the codes of PKCE."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from supabase import AsyncClient
from supabase_auth.errors import AuthImplicitGrantRedirectError

from tests.clients.accounts import Person, newcomer, note_events, refused, sign_in, sign_up
from tests.clients.conftest import Connect, Sites
from tests.clients.serve_accounts import WELCOME

HOUR, DAY = 3600, 86_400


@pytest.fixture
async def client(connect: Connect) -> AsyncClient:
    """Of the flow that is the Python client's default: PKCE."""
    return await connect()


@pytest.fixture
async def implicit(connect: Connect) -> AsyncClient:
    return await connect(flow_type="implicit")


@pytest.fixture
async def ada(connect: Connect) -> Person:
    """Signed up, and not signed in with `client`."""
    person = newcomer()
    await sign_up(await connect(), person)
    return person


async def followed(http: httpx.AsyncClient, link: str) -> str:
    """Where a browser is led to."""
    answer = await http.get(link)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def query_of(location: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


# ---- a forgotten password -------------------------------------------------------------------------------------------


async def test_a_link_signs_in_to_set_a_new_password(
    auth_served: Sites, http: httpx.AsyncClient, implicit: AsyncClient, ada: Person
) -> None:
    await implicit.auth.reset_password_for_email(ada.email, {"redirect_to": f"{WELCOME}?from=mail"})
    location = await followed(http, auth_served.mail(ada.email).link)
    assert location.startswith(f"{WELCOME}?from=mail#access_token=")
    events = note_events(implicit)
    await implicit.auth.initialize(url=location)
    assert events == ["SIGNED_IN", "PASSWORD_RECOVERY"]
    await implicit.auth.update_user({"password": "battery staple"})
    assert (await sign_in(implicit, Person(ada.email, "battery staple"))).user.email == ada.email


async def test_a_link_leads_to_a_code_for_pkce(
    auth_served: Sites, http: httpx.AsyncClient, client: AsyncClient, ada: Person
) -> None:
    await client.auth.reset_password_email(ada.email, {"redirect_to": WELCOME})
    location = await followed(http, auth_served.mail(ada.email).link)
    assert location.startswith(f"{WELCOME}?code=")
    events = note_events(client)
    answer = await client.auth.exchange_code_for_session({"auth_code": query_of(location)["code"]})
    assert events == ["PASSWORD_RECOVERY"]
    assert answer.user is not None
    assert answer.user.email == ada.email
    await client.auth.update_user({"password": "battery staple"})


async def test_the_token_of_a_link_is_verified_by_the_application(
    auth_served: Sites, client: AsyncClient, ada: Person
) -> None:
    await client.auth.reset_password_for_email(ada.email)
    events, token = note_events(client), query_of(auth_served.mail(ada.email).link)["token"]
    answer = await client.auth.verify_otp({"type": "recovery", "token_hash": token})
    assert events == ["PASSWORD_RECOVERY"]
    assert answer.session is not None
    assert answer.session.user.email == ada.email
    await refused(client.auth.verify_otp({"type": "recovery", "token_hash": token}), "otp_expired", 403)


async def test_digits_may_be_typed_instead(auth_served: Sites, client: AsyncClient, ada: Person) -> None:
    await client.auth.reset_password_for_email(ada.email)
    code = auth_served.mail(ada.email).code
    answer = await client.auth.verify_otp({"type": "recovery", "email": ada.email, "token": code})
    assert answer.session is not None
    assert answer.session.user.email == ada.email


async def test_an_unknown_address_gets_the_same_answer_and_no_mail(
    auth_served: Sites, client: AsyncClient, ada: Person
) -> None:
    nobody = newcomer()
    await client.auth.reset_password_for_email(nobody.email)
    await client.auth.reset_password_for_email(ada.email)
    assert auth_served.mail(ada.email).to == ada.email
    assert not auth_served.has_mail(nobody.email)


async def test_a_link_leads_only_to_pages_that_are_listed(
    auth_served: Sites, http: httpx.AsyncClient, implicit: AsyncClient, ada: Person
) -> None:
    for wanted in ("https://evil.example.org/", "javascript:alert(1)", "https://app.example.org.evil.org/welcome"):
        await implicit.auth.reset_password_for_email(ada.email, {"redirect_to": wanted})
        location = await followed(http, auth_served.mail(ada.email).link)
        assert location.startswith(f"{auth_served.open.url}#"), location


# ---- links that work no more ----------------------------------------------------------------------------------------


async def test_a_link_works_once(
    auth_served: Sites, http: httpx.AsyncClient, implicit: AsyncClient, ada: Person
) -> None:
    await implicit.auth.reset_password_for_email(ada.email, {"redirect_to": WELCOME})
    link = auth_served.mail(ada.email).link
    await followed(http, link)
    location = await followed(http, link)
    with pytest.raises(AuthImplicitGrantRedirectError) as caught:
        await implicit.auth.initialize(url=location)
    assert caught.value.details == {"error": "access_denied", "code": "otp_expired"}


async def test_links_and_digits_grow_old(auth_served: Sites, client: AsyncClient, ada: Person) -> None:
    await client.auth.reset_password_for_email(ada.email)
    mail = auth_served.mail(ada.email)
    with auth_served.at(HOUR + 60):
        await refused(
            client.auth.verify_otp({"type": "recovery", "email": ada.email, "token": mail.code}), "otp_expired", 403
        )
    with auth_served.at(DAY + 60):
        token = query_of(mail.link)["token"]
        await refused(client.auth.verify_otp({"type": "recovery", "token_hash": token}), "otp_expired", 403)


async def test_wrong_digits_are_refused_and_after_five_the_right_ones_too(
    auth_served: Sites, client: AsyncClient, ada: Person
) -> None:
    await client.auth.reset_password_for_email(ada.email)
    code = auth_served.mail(ada.email).code
    wrong = f"{(int(code) + 1) % 10**6:06}"
    for digits in (wrong,) * 5 + (code,):
        call = client.auth.verify_otp({"type": "recovery", "email": ada.email, "token": digits})
        await refused(call, "otp_expired", 403)


async def test_what_is_no_token_is_refused(client: AsyncClient, ada: Person) -> None:
    await refused(client.auth.verify_otp({"type": "recovery", "token_hash": "nonsense"}), "otp_expired", 403)
    await refused(client.auth.verify_otp({"type": "email", "email": ada.email, "token": "12"}), "otp_expired", 403)
    await refused(client.auth.verify_otp({"type": "email", "token_hash": ""}), "validation_failed")


async def test_codes_of_pkce_are_refused_that_do_not_fit(
    auth_served: Sites, http: httpx.AsyncClient, client: AsyncClient, ada: Person
) -> None:
    await client.auth.reset_password_for_email(ada.email, {"redirect_to": WELCOME})
    code = query_of(await followed(http, auth_served.mail(ada.email).link))["code"]
    wrong = client.auth.exchange_code_for_session({"auth_code": code, "code_verifier": "x" * 64})
    await refused(wrong, "bad_code_verifier")
    with auth_served.at(301):
        await refused(client.auth.exchange_code_for_session({"auth_code": code}), "flow_state_expired", 422)
    assert (await client.auth.exchange_code_for_session({"auth_code": code})).session is not None
    again = client.auth.exchange_code_for_session({"auth_code": code, "code_verifier": "x" * 64})
    await refused(again, "flow_state_not_found", 404)


# ---- signing in by mail ---------------------------------------------------------------------------------------------


async def test_a_mail_signs_in_who_is_known(auth_served: Sites, client: AsyncClient, ada: Person) -> None:
    answer = await client.auth.sign_in_with_otp({"email": ada.email, "options": {"should_create_user": False}})
    assert (answer.user, answer.session) == (None, None)
    events, code = note_events(client), auth_served.mail(ada.email).code
    signed_in = await client.auth.verify_otp({"type": "email", "email": ada.email, "token": code})
    assert events == ["SIGNED_IN"]
    assert signed_in.user is not None
    assert signed_in.user.email == ada.email
    level = await client.auth.mfa.get_authenticator_assurance_level()
    assert [entry.method for entry in level.current_authentication_methods] == ["otp"]


async def test_a_mail_makes_a_user_of_who_is_unknown(
    auth_served: Sites, http: httpx.AsyncClient, client: AsyncClient
) -> None:
    bob = newcomer()
    await client.auth.sign_in_with_otp(
        {"email": bob.email, "options": {"data": {"nick": "zz"}, "email_redirect_to": WELCOME}}
    )
    code = query_of(await followed(http, auth_served.mail(bob.email).link))["code"]
    answer = await client.auth.exchange_code_for_session({"auth_code": code})
    assert answer.user is not None
    assert (answer.user.email, answer.user.user_metadata) == (bob.email, {"nick": "zz"})
    assert answer.user.email_confirmed_at is not None


async def test_a_mail_to_nobody_is_refused_where_none_is_to_be_made(client: AsyncClient) -> None:
    call = client.auth.sign_in_with_otp({"email": newcomer().email, "options": {"should_create_user": False}})
    await refused(call, "otp_disabled", 422)


async def test_mails_need_an_address(client: AsyncClient) -> None:
    for call in (
        client.auth.reset_password_for_email("nonsense"),
        client.auth.sign_in_with_otp({"email": "nonsense"}),
        client.auth.resend({"type": "signup", "email": "nonsense"}),
    ):
        await refused(call, "validation_failed")


# ---- addresses that must be confirmed -------------------------------------------------------------------------------


@pytest.fixture
async def confirming(auth_served: Sites, connect: Connect) -> AsyncClient:
    return await connect(auth_served.confirming)


async def register(client: AsyncClient, person: Person) -> None:
    answer = await client.auth.sign_up({"email": person.email, "password": person.password})
    assert answer.session is None
    assert answer.user is not None
    assert (answer.user.email, answer.user.email_confirmed_at) == (person.email, None)


async def test_a_new_user_confirms_the_address_first(auth_served: Sites, confirming: AsyncClient) -> None:
    bob = newcomer()
    await register(confirming, bob)
    assert await confirming.auth.get_session() is None
    await refused(sign_in(confirming, bob), "email_not_confirmed")
    await refused(sign_in(confirming, Person(bob.email, "wrong horse")), "invalid_credentials")
    token = query_of(auth_served.mail(bob.email).link)["token"]
    answer = await confirming.auth.verify_otp({"type": "signup", "token_hash": token})
    assert answer.user is not None
    assert answer.user.email_confirmed_at is not None
    await sign_in(confirming, bob)


async def test_the_mail_of_a_sign_up_is_sent_again(
    auth_served: Sites, http: httpx.AsyncClient, confirming: AsyncClient
) -> None:
    bob = newcomer()
    await register(confirming, bob)
    first = auth_served.mail(bob.email)
    await confirming.auth.resend({"type": "signup", "email": bob.email, "options": {"email_redirect_to": WELCOME}})
    second = auth_served.mail(bob.email)
    location = await followed(http, first.link)
    assert "error_code=otp_expired" in location
    assert (await followed(http, second.link)).startswith(f"{WELCOME}#access_token=")
    await sign_in(confirming, bob)


async def test_a_known_address_is_not_told_to_who_signs_up(auth_served: Sites, confirming: AsyncClient) -> None:
    bob = newcomer()
    await register(confirming, bob)
    code = auth_served.mail(bob.email).code
    known = await confirming.auth.verify_otp({"type": "signup", "email": bob.email, "token": code})
    assert known.user is not None
    answer = await confirming.auth.sign_up({"email": bob.email, "password": "another horse"})
    assert answer.session is None
    assert answer.user is not None
    assert (answer.user.email, answer.user.identities) == (bob.email, [])
    assert answer.user.id != known.user.id
    assert not auth_served.has_mail(bob.email)
    await sign_in(confirming, bob)


async def test_a_new_address_counts_when_it_is_confirmed(auth_served: Sites, confirming: AsyncClient) -> None:
    bob, address = newcomer(), newcomer().email
    await register(confirming, bob)
    code = auth_served.mail(bob.email).code
    await confirming.auth.verify_otp({"type": "signup", "email": bob.email, "token": code})
    changed = await confirming.auth.update_user({"email": address})
    assert (changed.user.email, changed.user.new_email) == (bob.email, address)
    auth_served.mail(address)
    await confirming.auth.resend({"type": "email_change", "email": bob.email})
    code = auth_served.mail(address).code
    answer = await confirming.auth.verify_otp({"type": "email_change", "email": address, "token": code})
    assert answer.user is not None
    assert answer.user.email == address
    await sign_in(confirming, Person(address, bob.password))
    await refused(sign_in(confirming, bob), "invalid_credentials")


async def test_the_confirmation_of_pkce_leads_to_a_code(
    auth_served: Sites, http: httpx.AsyncClient, confirming: AsyncClient
) -> None:
    bob = newcomer()
    await confirming.auth.sign_up(
        {"email": bob.email, "password": bob.password, "options": {"email_redirect_to": WELCOME}}
    )
    location = await followed(http, auth_served.mail(bob.email).link)
    assert location.startswith(f"{WELCOME}?code=")
    answer = await confirming.auth.exchange_code_for_session({"auth_code": query_of(location)["code"]})
    assert answer.session is not None
    await sign_in(confirming, bob)
