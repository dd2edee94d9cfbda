"""What the account API says of itself, without a key: health, settings, the public keys of access tokens. Source:
supabase 1.6, 1.10.
"""

from __future__ import annotations

from starlette.responses import Response

from app import __version__
from app.accounts.wire.asking import Ask, answer

KEYS_KEPT = 600  # seconds that clients keep the keys; a new one is published as long before it signs
PROVIDERS = (  # none of which is there; tools ask for each by name
    *("apple", "azure", "bitbucket", "discord", "facebook", "figma", "fly", "github", "gitlab", "google", "kakao"),
    *("keycloak", "linkedin", "linkedin_oidc", "notion", "slack", "slack_oidc", "spotify", "twitch", "twitter", "x"),
    *("workos", "zoom"),
)


async def health(ask: Ask) -> Response:
    """`name` is what tools look for."""
    return answer({"version": __version__, "name": "GoTrue", "description": "The account API of Broadsheet"})


async def settings(ask: Ask) -> Response:
    known = ask.accounts.settings
    external = {**dict.fromkeys(PROVIDERS, False), "email": True, "phone": False}
    return answer(
        {
            "external": {**external, "anonymous_users": known.accounts.anonymous},
            "disable_signup": not known.sign_up_open,
            "mailer_autoconfirm": not known.accounts.confirm_email,
            "phone_autoconfirm": False,
            "sms_provider": "",
            "saml_enabled": False,
            "mfa_enabled": False,
            "passkeys_enabled": False,
        }
    )


async def public_keys(ask: Ask) -> Response:
    keys = await ask.accounts.authenticate.ring.published(ask.database)
    return answer({"keys": keys}, headers={"Cache-Control": f"public, max-age={KEYS_KEPT}"})
