"""Users and sessions as the clients parse them, strictly: a missing or null field breaks one of them.

Source: supabase 1.2, 1.4.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from app.accounts.people import Account
from app.accounts.sessions import Opened
from app.accounts.signing import Pair
from app.accounts.tokens import AUDIENCE, issuer, signed
from app.settings import Settings

Json = dict[str, Any]


def user_json(account: Account) -> Json:
    """`id` is the uid; the id of REST stands in app_metadata.user_id, which the user cannot write."""
    shown: Json = {
        "id": str(account.uid),
        "aud": AUDIENCE,
        "role": AUDIENCE,
        "email": account.email or "",
        "phone": "",
        "app_metadata": app_metadata(account),
        "user_metadata": account.user_metadata,
        "identities": [] if account.email is None else [_identity(account)],
        "created_at": time_text(account.created_at),
        "updated_at": time_text(account.updated_at),
        "is_anonymous": account.is_anonymous,
    }
    times = {
        "email_confirmed_at": account.email_confirmed_at,
        "confirmed_at": account.email_confirmed_at,
        "last_sign_in_at": account.last_sign_in_at,
        "banned_until": account.banned_until,
    }
    return shown | {name: time_text(at) for name, at in times.items() if at is not None}


def session_json(account: Account, opened: Opened, pair: Pair, settings: Settings, now: datetime) -> Json:
    """What signs a client in."""
    life = settings.accounts.access_seconds
    issued_at = int(now.timestamp())
    return {
        "access_token": signed(pair, _claims(account, opened, settings, issued_at)),
        "token_type": "bearer",
        "expires_in": life,
        "expires_at": issued_at + life,
        "refresh_token": opened.refresh_token,
        "user": user_json(account),
    }


def app_metadata(account: Account) -> Json:
    providers = [] if account.email is None else ["email"]
    known: Json = {"provider": "email"} if providers else {}
    return {**known, "providers": providers, **account.app_metadata, "user_id": account.id}


def time_text(at: datetime) -> str:
    """RFC 3339 with Z and microseconds."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _identity(account: Account) -> Json:
    uid, created = str(account.uid), time_text(account.created_at)
    data = {"sub": uid, "email": account.email, "email_verified": account.email_confirmed_at is not None}
    return {
        "identity_id": uid,
        "id": uid,
        "user_id": uid,
        "identity_data": {**data, "phone_verified": False},
        "provider": "email",
        "email": account.email,
        "created_at": created,
        "updated_at": time_text(account.updated_at),
        "last_sign_in_at": time_text(account.last_sign_in_at or account.created_at),
    }


def _claims(account: Account, opened: Opened, settings: Settings, issued_at: int) -> Json:
    return {
        "iss": issuer(settings),
        "sub": str(account.uid),
        "aud": AUDIENCE,
        "exp": issued_at + settings.accounts.access_seconds,
        "iat": issued_at,
        "email": account.email or "",
        "phone": "",
        "role": AUDIENCE,
        "aal": "aal1",
        "amr": [{"method": opened.method, "timestamp": opened.since}],
        "session_id": str(opened.uid),
        "is_anonymous": account.is_anonymous,
        "app_metadata": app_metadata(account),
        "user_metadata": account.user_metadata,
    }
