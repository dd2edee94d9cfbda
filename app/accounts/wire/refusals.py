"""Refusals of the account API. Clients tell errors apart by `code`, so the codes are Supabase's own; the body has the
keys of both of their API versions beside ours. Source: supabase 0.4, 1.2, 1.3.
"""

from __future__ import annotations

from typing import Any

from app.accounts.passwords import WeakPassword
from app.errors import BadBody, BadValue, BroadsheetError, Conflict, TooLarge

CODES = {400: "validation_failed", 401: "no_authorization", 403: "no_authorization", 404: "not_found"}


class Refusal(BroadsheetError):
    """`more` stands in the body beside the usual keys."""

    def __init__(self, status: int, code: str, message: str, *, hint: str | None = None, **more: Any) -> None:
        super().__init__(message, code=code, status=status, hint=hint)
        self.more = more

    def body(self) -> dict[str, Any]:
        return {**super().body(), "error_code": self.code, "msg": self.message, **self.more}


def translated(exc: BroadsheetError) -> Refusal:
    """An error of the layers below as this API says it. Never a 5xx but for what may be tried again."""
    match exc:
        case Refusal():
            return exc
        case WeakPassword():
            reasons = {"message": exc.message, "reasons": [exc.reason]}
            found = Refusal(422, "weak_password", exc.message, hint=exc.hint, weak_password=reasons)
        case BadBody():
            found = Refusal(400, "bad_json", exc.message, hint=exc.hint)
        case TooLarge():
            found = Refusal(exc.status, "validation_failed", exc.message, hint=exc.hint)
        case BadValue():
            found = Refusal(400, "validation_failed", exc.message, hint=exc.hint)
        case Conflict() if exc.code == "23505":
            return taken(exc)
        case BroadsheetError(status=429):
            found = Refusal(429, "over_request_rate_limit", "Request rate limit reached", hint=exc.hint)
        case BroadsheetError(status=status) if status >= 500:
            found = Refusal(status, exc.code, exc.message, hint=exc.hint)
        case _:
            code = CODES.get(exc.status, "validation_failed")
            found = Refusal(exc.status, code, exc.message, hint=exc.hint)
    found.details, found.retry_after = exc.details, exc.retry_after
    return found


def taken(exc: Conflict) -> Refusal:
    """A unique column of users: the address or the username."""
    if "users_email_key" in exc.message:
        return Refusal(422, "email_exists", "A user with this email address has already been registered")
    return Refusal(422, "validation_failed", "Username already taken", hint="Send another data.username.")


def invalid(message: str) -> Refusal:
    """For what a body or query says."""
    return Refusal(400, "validation_failed", message)


def no_phones() -> Refusal:
    return Refusal(400, "phone_provider_disabled", "Phone numbers are not supported")


def bad_credentials() -> Refusal:
    """One answer for a wrong password and for an unknown account."""
    return Refusal(400, "invalid_credentials", "Invalid login credentials")


def no_authorization() -> Refusal:
    return Refusal(401, "no_authorization", "This endpoint requires a valid Bearer token")


def bad_jwt(message: str) -> Refusal:
    return Refusal(403, "bad_jwt", f"invalid JWT: {message}")


def banned(status: int) -> Refusal:
    return Refusal(status, "user_banned", "User is banned")


def no_user() -> Refusal:
    return Refusal(403, "user_not_found", "User from sub claim in JWT does not exist")


def unknown_user() -> Refusal:
    """For admins, who ask by id."""
    return Refusal(404, "user_not_found", "User not found")


def no_session() -> Refusal:
    return Refusal(403, "session_not_found", "Session from session_id claim in JWT does not exist")


def not_admin() -> Refusal:
    return Refusal(403, "not_admin", "User not allowed", hint="Send the secret key as apikey and Bearer.")


def no_mailer() -> Refusal:
    message = "This server sends no e-mail; ask an administrator for a recovery link"
    return Refusal(400, "email_provider_disabled", message)


def otp_expired() -> Refusal:
    return Refusal(403, "otp_expired", "Token has expired or is invalid")
