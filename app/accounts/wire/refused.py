"""The calls of Supabase's account API that this service does not take: each is refused with the code by which clients
know why, whatever key or token they send. Source: supabase 1.10.
"""

from __future__ import annotations

from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from app.accounts.wire import refusals
from app.accounts.wire.asking import Ask, Handler, answer

PAGE = "<!doctype html><title>Not supported</title><p>{message}.</p>"  # a browser is sent to sign in by a provider
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

OAUTH = (400, "oauth_provider_not_supported", "Signing in by other providers is not supported")
NO_SAML = (404, "saml_provider_disabled", "SAML single sign-on is not supported")
NO_FACTORS = (422, "mfa_totp_enroll_not_enabled", "A second factor is not supported")
NO_LINKING = (404, "manual_linking_disabled", "Linking identities is not supported")
NO_PASSKEYS = (404, "passkey_disabled", "Passkeys are not supported")
NO_FEATURE = (404, "feature_disabled", "This part of the account API is not supported")
NO_INVITING = (400, "email_provider_disabled", "Invitations are not sent: make a link with POST /admin/generate_link")
NO_NONCES = (400, "email_provider_disabled", "Codes to reauthenticate are not sent: sign in again instead")

# Paths with all that lies beneath them.
TABLE = {
    "/authorize": OAUTH,
    "/callback": OAUTH,
    "/sso": NO_SAML,
    "/factors": NO_FACTORS,
    "/admin/users/{uid}/factors": NO_FACTORS,
    "/user/identities": NO_LINKING,
    "/passkeys": NO_PASSKEYS,
    "/admin/users/{uid}/passkeys": NO_PASSKEYS,
    "/oauth": NO_FEATURE,
    "/user/oauth": NO_FEATURE,
    "/admin/sso": NO_FEATURE,
    "/admin/oauth": NO_FEATURE,
    "/admin/custom-providers": NO_FEATURE,
    "/scim": NO_FEATURE,
    "/invite": NO_INVITING,
    "/reauthenticate": NO_NONCES,
}
GRANTS = {
    "id_token": (400, "provider_disabled", "Signing in by other providers is not supported"),
    "web3": (422, "web3_provider_disabled", "Signing in by a wallet is not supported"),
}


def refused_calls() -> dict[str, dict[str, Handler]]:
    """By path, for the table of routes; none of them needs a key."""
    calls = {}
    for path, (status, code, message) in TABLE.items():
        handler = _refuser(status, code, message)
        calls[path] = calls[f"{path}/{{rest:path}}"] = dict.fromkeys(METHODS, handler)
    return calls


def grant(name: str) -> refusals.Refusal:
    """Why POST /token does not take a grant_type."""
    return refusals.Refusal(*GRANTS.get(name, (400, "invalid_credentials", "unsupported_grant_type")))


def _refuser(status: int, code: str, message: str) -> Handler:
    async def refuse(ask: Ask) -> Response:
        if (status, code, message) == OAUTH and "text/html" in ask.request.headers.get("accept", ""):
            return HTMLResponse(PAGE.format(message=escape(message)), status, headers={"Cache-Control": "no-store"})
        raise refusals.Refusal(status, code, message)

    return refuse


async def no_storage(request: Request) -> Response:
    """/storage/v1, which clients of the whole of Supabase may ask for."""
    return answer({"statusCode": "404", "error": "feature_disabled", "message": "This server stores no files"}, 404)
