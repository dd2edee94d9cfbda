"""What the calls of the account API take and answer, as JSON Schema: the shapes of `shapes.py` and the fields that the
handlers read. Source: supabase 1.2, 1.3, 1.9.
"""

from __future__ import annotations

from typing import Any

from app.accounts.signing import ALGORITHM
from app.accounts.tokens import AUDIENCE
from app.accounts.wire.about import PROVIDERS
from app.accounts.wire.admin import DURATION, LINKS
from app.accounts.wire.asking import MOST_METADATA
from app.accounts.wire.links import TYPES
from app.accounts.wire.mailing import CHALLENGE
from app.models import UserRole
from app.models.names import EMAIL

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
GIVEN: Schema = {"type": "string", "minLength": 1}
NUMBER: Schema = {"type": "integer"}
SWITCH: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}
UUID: Schema = {"type": "string", "format": "uuid"}
LINKED: Schema = {"type": "string", "format": "uri"}
UNSAID: Schema = {"enum": ["", None]}  # counts as absent


def reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/Auth.{name}"}


def maybe(schema: Schema) -> Schema:
    return {"anyOf": [schema, UNSAID]}


def maybe_text(description: str, **more: Any) -> Schema:
    return {"type": ["string", "null"], "description": description, **more}


def listed(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def answered(properties: Schema, *optional: str, **more: Any) -> Schema:
    """An object with all of these fields but for the optional ones."""
    return {
        "type": "object",
        "required": [n for n in properties if n not in optional],
        "properties": properties,
        **more,
    }


def taken(required: str = "", **properties: Schema) -> Schema:
    """An object with at least the fields that are named first, as words."""
    needed = {"required": required.split()} if required else {}
    return {"type": "object", **needed, "properties": properties}


# ---- answers --------------------------------------------------------------------------------------------------------

PROVEN = {"sub": UUID, "email": TEXT, "email_verified": SWITCH, "phone_verified": {"const": False}}
IDENTITY: Schema = {
    **{"identity_id": UUID, "id": TEXT, "user_id": UUID, "provider": {"const": "email"}, "email": TEXT},
    "identity_data": answered(PROVEN),
    **{"created_at": TIME, "updated_at": TIME, "last_sign_in_at": TIME},
}
APP_METADATA: Schema = {
    "provider": TEXT,
    "providers": listed(TEXT),
    "user_id": {**NUMBER, "description": "The id of the row, 0 where that is not told."},
}
UNSET = ("email_confirmed_at", "confirmed_at", "last_sign_in_at", "banned_until")
USER: Schema = {
    **{"id": UUID, "aud": {"const": AUDIENCE}, "role": {"const": AUDIENCE}},
    "email": {**TEXT, "description": "Empty where there is none."},
    "phone": {"const": ""},
    "app_metadata": answered(APP_METADATA, "provider", additionalProperties=True, description="Only admins change it."),
    "user_metadata": {"type": "object"},
    "identities": listed(reference("Identity")),
    **{"created_at": TIME, "updated_at": TIME, "is_anonymous": SWITCH, **dict.fromkeys(UNSET, TIME)},
    "new_email": {**TEXT, "description": "The address that a mail asks to confirm."},
}
LINK: Schema = {
    "action_link": LINKED,
    "email_otp": {**TEXT, "description": "Digits that may be typed instead of following the link."},
    "hashed_token": {**TEXT, "description": "The `token_hash` of POST /verify."},
    "verification_type": {"enum": list(LINKS)},
    "redirect_to": LINKED,
}
SESSION: Schema = {
    "access_token": {**TEXT, "description": "A JWT, for Authorization: Bearer."},
    "token_type": {"const": "bearer"},
    "expires_in": {**NUMBER, "description": "Seconds."},
    "expires_at": {**NUMBER, "description": "Seconds since 1970."},
    **{"refresh_token": TEXT, "user": reference("User"), "weak_password": reference("WeakPassword")},
}
KEY: Schema = {
    **{"kty": {"const": "EC"}, "crv": {"const": "P-256"}, "x": TEXT, "y": TEXT, "kid": TEXT},
    **{"alg": {"const": ALGORITHM}, "use": {"const": "sig"}, "key_ops": {"const": ["verify"]}},
}
SETTINGS: Schema = {
    "external": answered(dict.fromkeys((*PROVIDERS, "email", "phone", "anonymous_users"), SWITCH)),
    **{"disable_signup": SWITCH, "mailer_autoconfirm": SWITCH, "phone_autoconfirm": SWITCH, "sms_provider": TEXT},
    **{"saml_enabled": SWITCH, "mfa_enabled": SWITCH, "passkeys_enabled": SWITCH},
}
WEAK: Schema = {"message": TEXT, "reasons": listed({"enum": ["length", "characters"]})}
ERROR: Schema = {
    "code": {**TEXT, "description": "By which clients tell refusals apart, such as `invalid_credentials`."},
    "message": TEXT,
    "details": {"type": ["string", "array", "null"], "items": {"type": "object"}},
    "hint": {"type": ["string", "null"]},
    "error_code": {**TEXT, "description": "The `code` again."},
    "msg": {**TEXT, "description": "The `message` again."},
    "weak_password": reference("WeakPassword"),
}
SCHEMAS: Schema = {
    "Error": answered(ERROR, "weak_password"),
    "Health": answered({"version": TEXT, "name": TEXT, "description": TEXT}),
    "Identity": answered(IDENTITY),
    "Keys": answered({"keys": listed(answered(KEY))}),
    "Link": answered({**USER, **LINK}, *UNSET, "new_email"),
    "Nothing": {"type": "object", "maxProperties": 0},
    "Session": answered(SESSION, "weak_password"),
    "Settings": answered(SETTINGS),
    "User": answered(USER, *UNSET, "new_email"),
    "Users": answered({"users": listed(reference("User")), "aud": {"const": AUDIENCE}}),
    "WeakPassword": answered(WEAK),
}

# ---- bodies ---------------------------------------------------------------------------------------------------------

ADDRESS: Schema = {"type": "string", "pattern": rf"^\s*{EMAIL.pattern}\s*$", "examples": ["ada@example.org"]}
PASSWORD: Schema = {"type": "string", "format": "password"}
CHOSEN = "8 to 72 bytes, or as many at least as the service asks for; none of the most common."
NEW_PASSWORD: Schema = {**maybe(PASSWORD), "description": CHOSEN, "examples": ["correct horse battery staple"]}


def bag(description: str) -> Schema:
    text = f"{description} Merged into what is there; null takes a field away. At most {MOST_METADATA} bytes."
    return {"type": ["object", "null"], "description": text}


def flag(description: str, *, default: bool) -> Schema:
    return {"type": ["boolean", "null"], "default": default, "description": description}


DATA = bag("`user_metadata`. A new user's `username` and `full_name` are taken from it.")
PKCE: Schema = {
    "code_challenge": maybe_text("Of PKCE, with its method.", pattern=f"^({CHALLENGE.pattern})?$"),
    "code_challenge_method": maybe_text("`s256` or `plain`.", examples=["s256"]),
}
OWN = taken(email=maybe(ADDRESS), password=NEW_PASSWORD, data=DATA, **PKCE)  # of who signs up, and later
GRANTS: Schema = {
    "anyOf": [
        taken("email password", email=ADDRESS, password={**PASSWORD, "minLength": 1}),
        taken("refresh_token", refresh_token=GIVEN),
        taken("auth_code code_verifier", auth_code=GIVEN, code_verifier=GIVEN),
    ]
}
RECOVER = taken("email", email=ADDRESS, **PKCE)
CREATES = flag("Whether who is unknown becomes a user.", default=True)
OTP = taken("email", email=ADDRESS, create_user=CREATES, data=DATA, **PKCE)
RESEND = taken("type email", type={"enum": ["signup", "email_change"]}, email=ADDRESS, **PKCE)

BAN = maybe_text(
    "From now on; `none` ends a ban.", pattern=f"^(none|{DURATION.pattern})?$", examples=["24h", "1h30m", "none"]
)
BY_ADMIN: Schema = {
    "password": NEW_PASSWORD,
    "password_hash": maybe_text("argon2id, in place of a password."),
    "email_confirm": flag("Whether the address counts as confirmed.", default=False),
    "ban_duration": BAN,
    "role": {"enum": [*map(str, UserRole), AUDIENCE, *UNSAID["enum"]], "description": f"`{AUDIENCE}` changes nothing."},
    "user_metadata": bag("What the user may change too."),
    "app_metadata": bag("What only admins change."),
}
NEW_USER = taken("email", id=maybe(UUID), email=ADDRESS, **BY_ADMIN)
CHANGE = taken(email=maybe(ADDRESS), **BY_ADMIN)
REMOVAL = taken(should_soft_delete=flag("Keeps the row, so that the user can be restored.", default=False))
NEW_LINK = taken(
    "type email",
    type={"enum": list(LINKS)},
    email=ADDRESS,
    new_email={**maybe(ADDRESS), "description": "Needed for a change of address."},
    password={**NEW_PASSWORD, "description": "Needed for a sign-up."},
    **{"data": DATA, "redirect_to": maybe_text("As in the query string.")},
)
PROOFS: Schema = {
    "anyOf": [
        taken("type token_hash", type={"enum": list(TYPES)}, token_hash=GIVEN),
        taken("type email token", type={"enum": list(TYPES)}, email=ADDRESS, token=GIVEN),
    ]
}
