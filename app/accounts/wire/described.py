"""What OpenAPI says of the account API: for each call its summary, what it needs and takes, and its answers.

It is a part of a document, to be merged into that of the whole service. What is said there of every call is not
repeated: the schemes `apikey` and `bearer`, which of them all calls ask for, and faults (500).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from app.accounts.wire import schemas
from app.accounts.wire.about import KEYS_KEPT
from app.accounts.wire.admin import LAST_PAGE, LONGEST_PAGE, PAGE
from app.accounts.wire.links import TYPES
from app.accounts.wire.own_user import SCOPES
from app.accounts.wire.routes import PREFIX
from app.accounts.wire.schemas import GIVEN, TEXT, UUID, Schema, reference

TAG = "accounts"
ABOUT = (
    "Sign-up, sign-in and users, as the clients of Supabase call them. What a call does not know in a body it ignores; "
    "null and an empty text count as absent, no body as an empty object."
)
JSON = "application/json"
REFUSALS = {
    400: "The request cannot be read, or what it shows lets nobody in: a wrong password, a refresh token that is over.",
    401: "A wrong key, or nothing where a key or a token is needed.",
    403: "The token is not right or not any more, or this is not for its bearer.",
    404: "There is no such user, or no such code.",
    409: "The id is or was another user's, or rows keep the user from being removed.",
    413: "The body is too large.",
    422: "The password is too weak, the address or the name is taken, or this way in is closed.",
    429: "Too many attempts, sign-ups or mails, or too many passwords at this moment.",
    503: "The database cannot take this now. Repeat it after `Retry-After` seconds.",
    504: "The database took too long.",
    507: "There is no room left to write.",
}
WITH_RETRY = (429, 503, 504)


class Needs(Enum):
    """Which credentials a call asks for, in words for who reads of it."""

    NOTHING = "Needs no key, and looks at none."
    KEY = "Looks at keys alone: the token of a session that comes along may have expired."
    SESSION = "Needs the access token of a session as Bearer."
    ADMIN = "Needs the secret key."

    def security(self, *, key_needed: bool) -> list[Schema] | None:
        """Of which one is enough; None where it is what every call asks for."""
        both: Schema = {"apikey": [], "bearer": []}
        match self:
            case Needs.NOTHING:
                return [{}]
            case Needs.KEY:
                return None
            case Needs.SESSION:
                return [both] if key_needed else [{"bearer": []}, both]
            case Needs.ADMIN:
                return [{"apikey": []}, {"bearer": []}]

    @property
    def refused(self) -> tuple[int, ...]:
        match self:
            case Needs.NOTHING:
                return ()
            case Needs.KEY:
                return (401,)
            case _:
                return (401, 403)


@dataclass(frozen=True, slots=True)
class Described:
    """One call. `refused` are statuses beside those that its needs, its body and the database bring along."""

    name: str
    summary: str
    needs: Needs
    answers: Schema
    refused: tuple[int, ...] = ()
    query: tuple[Schema, ...] = ()
    body: Schema | None = None
    asks_database: bool = True
    writes: bool = True

    def operation(self, *, key_needed: bool) -> Schema:
        security = self.needs.security(key_needed=key_needed)
        return {
            "tags": [TAG],
            "operationId": f"auth_{self.name}",
            "summary": self.summary,
            "description": self.needs.value,
            **({} if security is None else {"security": security}),
            **({"parameters": list(self.query)} if self.query else {}),
            **({} if self.body is None else {"requestBody": _request(self.body)}),
            "responses": {**self.answers, **{str(status): _refer(status) for status in sorted(self.statuses())}},
        }

    def statuses(self) -> set[int]:
        """Of refusals."""
        body = () if self.body is None else (400, 413)
        database = (503, 504) if self.asks_database else ()
        return {*self.refused, *self.needs.refused, *body, *database, *((507,) if self.writes else ())}


def _request(body: Schema) -> Schema:
    return {"required": "required" in body or "anyOf" in body, "content": {JSON: {"schema": body}}}


# ---- answers --------------------------------------------------------------------------------------------------------


def _refer(status: int) -> Schema:
    return {"$ref": f"#/components/responses/auth{status}"}


def _refusal(status: int) -> Schema:
    headers: Schema = {"X-Sb-Error-Code": _header("The `code` of the body.")}
    if status in WITH_RETRY:
        headers["Retry-After"] = _header("Seconds to wait.", {"type": "integer", "minimum": 0})
    return {"description": REFUSALS[status], "headers": headers, "content": {JSON: {"schema": reference("Error")}}}


def _header(description: str, schema: Schema = TEXT) -> Schema:
    return {"description": description, "schema": schema}


def _ok(name: str, **headers: Schema) -> Schema:
    shown = {"headers": {name.replace("_", "-"): header for name, header in headers.items()}} if headers else {}
    return {"200": {"description": "OK", **shown, "content": {JSON: {"schema": reference(name)}}}}


DONE, USER, LINK, SESSION = _ok("Nothing"), _ok("User"), _ok("Link"), _ok("Session")
EITHER = {"schema": {"anyOf": [reference("Session"), reference("User")]}}
JOINED: Schema = {"200": {"description": "A session; or the user, to be confirmed by mail.", "content": {JSON: EITHER}}}
LEFT: Schema = {"204": {"description": "No Content"}}
GOAL = _header("`redirect_to`, with a session or an error behind `#`, or with a `code` of PKCE.")
SENT_ON: Schema = {"303": {"description": "See Other", "headers": {"Location": GOAL}}}
USERS = _ok(
    "Users", X_Total_Count=_header("How many there are."), Link=_header('The next page (`rel="next"`) and the last.')
)
KEYS = _ok("Keys", Cache_Control=_header(f"They may be kept for {KEYS_KEPT} seconds."))

# ---- parameters -----------------------------------------------------------------------------------------------------


def _query(name: str, description: str, schema: Schema, *, required: bool = False) -> Schema:
    return {"name": name, "in": "query", "required": required, "description": description, "schema": schema}


def _number(name: str, description: str, default: int, most: int) -> Schema:
    """Clients send an empty one for none."""
    number = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return _query(name, description, {"anyOf": [number, {"type": "string", "maxLength": 0}]})


UID: Schema = {"name": "uid", "in": "path", "required": True, "description": "The user's id.", "schema": UUID}
GRANT = _query("grant_type", "What is shown.", {"enum": ["password", "refresh_token", "pkce"]}, required=True)
SCOPE = _query("scope", "All sessions, this one, or the others.", {"enum": list(SCOPES), "default": SCOPES[0]})
REDIRECT = _query("redirect_to", "Where the link leads in the end, if it may: else to the site.", TEXT)
PAGES = (_number("page", "Counted from 1.", 1, LAST_PAGE), _number("per_page", "Users a page.", PAGE, LONGEST_PAGE))
KIND = _query("type", "What the link is for.", {"enum": list(TYPES)}, required=True)
TOKEN = _query("token", "That of the link.", GIVEN, required=True)

# ---- calls ----------------------------------------------------------------------------------------------------------


def _mailed(name: str, summary: str, body: Schema, *refused: int) -> dict[str, Described]:
    """Answers the same whether the address is known or not."""
    return {"POST": Described(name, summary, Needs.KEY, DONE, (429, *refused), (REDIRECT,), body)}


def _shown(name: str, summary: str, answer: Schema, *, stored: bool = False) -> dict[str, Described]:
    return {"GET": Described(name, summary, Needs.NOTHING, answer, asks_database=stored, writes=stored)}


def _by_admin(
    name: str, summary: str, answers: Schema, *refused: int, body: Schema | None = None, query: tuple[Schema, ...] = ()
) -> Described:
    return Described(name, summary, Needs.ADMIN, answers, refused, query, body, writes=body is not None)


DESCRIBED: dict[str, dict[str, Described]] = {
    "/signup": {
        "POST": Described("sign_up", "Sign up", Needs.KEY, JOINED, (422, 429), (REDIRECT,), schemas.OWN),
    },
    "/token": {
        "POST": Described("sign_in", "Sign in", Needs.KEY, SESSION, (404, 422, 429), (GRANT,), schemas.GRANTS),
    },
    "/user": {
        "GET": Described("show_own_user", "The user of the session", Needs.SESSION, USER, writes=False),
        "PUT": Described(
            "change_own_user", "Change the own user", Needs.SESSION, USER, (422, 429), (REDIRECT,), schemas.OWN
        ),
    },
    "/logout": {"POST": Described("sign_out", "Sign out", Needs.SESSION, LEFT, (400,), (SCOPE,))},
    "/recover": _mailed("recover", "Mail a link to who forgot the password", schemas.RECOVER),
    "/otp": _mailed("send_otp", "Mail a link and a code to sign in with", schemas.OTP, 422),
    "/resend": _mailed("resend", "Send a mail once more", schemas.RESEND),
    "/admin/users": {
        "GET": _by_admin("list_users", "All users", USERS, 400, query=PAGES),
        "POST": _by_admin("create_user", "Make a user", USER, 409, 422, 429, body=schemas.NEW_USER),
    },
    "/admin/users/{uid}": {
        "GET": _by_admin("show_user", "One user", USER, 404),
        "PUT": _by_admin("change_user", "Change a user", USER, 404, 422, 429, body=schemas.CHANGE),
        "DELETE": _by_admin("delete_user", "Remove a user for good", DONE, 404, 409, body=schemas.REMOVAL),
    },
    "/admin/generate_link": {
        "POST": _by_admin(
            "generate_link", "A link without a mail", LINK, 404, 422, 429, body=schemas.NEW_LINK, query=(REDIRECT,)
        ),
    },
    "/verify": {
        "GET": Described(
            "follow_link", "Follow a link of a mail", Needs.NOTHING, SENT_ON, (400, 429), (KIND, TOKEN, REDIRECT)
        ),
        "POST": Described(
            "verify", "Sign in by a link or a code", Needs.NOTHING, SESSION, (403, 422, 429), (), schemas.PROOFS
        ),
    },
    "/.well-known/jwks.json": _shown("show_keys", "The public keys of access tokens", KEYS, stored=True),
    "/health": _shown("show_health", "What this is", _ok("Health")),
    "/settings": _shown("show_settings", "Which ways in there are", _ok("Settings")),
}


def account_description(*, key_needed: bool) -> Schema:
    """`key_needed` says that the service takes no call without a key, but for those that need nothing."""
    return {
        "tags": [{"name": TAG, "description": ABOUT}],
        "paths": {f"{PREFIX}{path}": _path(path, calls, key_needed) for path, calls in DESCRIBED.items()},
        "components": {
            "schemas": {f"Auth.{name}": schema for name, schema in schemas.SCHEMAS.items()},
            "responses": {f"auth{status}": _refusal(status) for status in REFUSALS},
        },
    }


def _path(path: str, calls: dict[str, Described], key_needed: bool) -> Schema:
    shared: Schema = {"parameters": [UID]} if "{uid}" in path else {}
    return shared | {method.lower(): call.operation(key_needed=key_needed) for method, call in calls.items()}
