"""Where the links of the account API may lead."""

from __future__ import annotations

import httpx2
import pytest

from app.accounts import redirects
from app.accounts.people import Account
from app.settings import AccountSettings, Settings
from tests.accounts.wire.asking import AUTH, Mails, sent

SITE = "https://blog.example.org"
LISTED = ("https://app.example.org/cb", "https://shop.example.org/**", "myapp://login", "https://*.example.net")


@pytest.mark.parametrize(
    "url",
    [
        SITE,
        f"{SITE}/any/page?x=1#y",
        "https://BLOG.example.org:443/",
        "https://app.example.org/cb",
        "https://app.example.org/cb/",
        "https://app.example.org/cb/x?code=1",
        "https://shop.example.org",
        "https://shop.example.org/deep/page",
        "myapp://login/x",
    ],
)
def test_allowed_page_is_led_to(url: str) -> None:
    settings = Settings(production=True, public_url=SITE, accounts=AccountSettings(redirects=LISTED))
    assert redirects.target(url, settings) == url


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "/welcome",
        "//evil.example",
        "https:evil.example",
        "https:///evil.example",
        "javascript:alert(1)",
        "javascript://blog.example.org/%0aalert(1)",
        "data:text/html,x",
        "https://evil.example",
        "http://blog.example.org",
        "https://blog.example.org:8443",
        "https://blog.example.org.evil.example",
        "https://blog.example.org@evil.example",
        "https://ada:secret@blog.example.org",
        "https://evil.example\\@blog.example.org",
        "https://evil.example\\.blog.example.org",
        "https://blog.example.org\t.evil.example",
        " https://blog.example.org",
        "https://blog.example.org\n",
        "https://blog.example.org:x",
        "https://[blog.example.org",
        "https://app.example.org/cbx",
        "https://app.example.org/",
        "https://app.example.org/cb/../admin",
        "https://app.example.org/cb/%2E%2e/admin",
        "https://any.example.net",
        "https://blög.example.org",
        "http://localhost:3000",
        "http://127.0.0.1:3000",
    ],
)
def test_any_other_page_gives_way_to_the_site(url: str | None) -> None:
    settings = Settings(production=True, public_url=SITE, accounts=AccountSettings(redirects=LISTED))
    assert redirects.target(url, settings) == SITE


@pytest.mark.parametrize(
    ("url", "is_led_to"),
    [
        ("http://localhost:3000/cb", True),
        ("https://127.0.0.1/cb", True),
        ("http://[::1]:5173", True),
        ("http://localhost.evil.example", False),
        ("http://192.168.1.2:3000", False),
        ("myapp://localhost", False),
    ],
)
def test_service_of_one_machine_leads_to_its_pages(url: str, is_led_to: bool) -> None:
    assert redirects.target(url, Settings()) == (url if is_led_to else "http://127.0.0.1:8000")


async def test_link_never_leads_to_an_address_that_is_not_listed(
    client: httpx2.AsyncClient, ada: Account, mails: Mails, settings: Settings
) -> None:
    mail = await sent(client, mails, "/recover", {"email": ada.email}, params={"redirect_to": "https://evil.example"})
    forged = httpx2.URL(mail.link).copy_set_param("redirect_to", "https://evil.example")
    for path in (mail.path, f"{AUTH}/verify?{forged.query.decode()}"):
        followed = await client.get(path)
        assert followed.headers["location"].startswith(f"{settings.site}#")
