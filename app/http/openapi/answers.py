"""Answers: which statuses an operation has, and what each of them says. Every refusal has the same body."""

from __future__ import annotations

from http import HTTPStatus

from app.data.rules import Role
from app.http.openapi.audience import Audience
from app.http.openapi.columns import Schema
from app.http.openapi.schemas import reference

JSON = "application/json"
ONE = "application/vnd.pgrst.object+json"
MANY = "application/vnd.pgrst.array+json"
CSV = "text/csv"

REFUSALS = {
    300: "Several relations have the name of an embed; `details` lists them, `hint` says how to choose.",
    400: "The request cannot be read, or names what does not exist for the caller.",
    401: "No key, a wrong one, or one is needed to do this.",
    403: "The caller may not do this.",
    404: "There is no such table, row or function for the caller.",
    405: "Filters that do not name exactly one row by its primary key.",
    406: "No media type or profile that is available; or not exactly one row where one object was asked for.",
    409: "Another row has this unique value, a row that is referred to does not exist, or rows refer to this one. Or a "
    "request with this Idempotency-Key is at work.",
    412: "The row has another version than If-Match says.",
    413: "The body is too large.",
    414: "The URL is too long.",
    415: "The body has a media type or an encoding that is not read.",
    416: "No row is in the range that was asked for.",
    422: "A value of the body does not fit: all that is wrong stands in `details`. Or the Idempotency-Key came with "
    "another request before.",
    428: "The service wants a condition: the row's version in If-Match, or in a filter.",
    429: "Too many requests.",
    500: "A fault of the service. `details` has the request's id.",
    503: "The database cannot take this now. Repeat it after `Retry-After` seconds.",
    504: "The database took too long.",
    507: "There is no room left to write.",
}
EVERY = (400, 401, 404, 406, 414, 429, 500, 503, 504)
READ = (*EVERY, 300)
PAGE = (*READ, 416)
REMOVE = (*READ, 403, 409)
WRITE = (*REMOVE, 413, 415, 422, 507)
CONDITION = (412, 428)  # of what changes rows that have versions
WITH_RETRY = (429, 503, 504)
PLAIN_ONLY = (415, 422)  # the dialect says 400, but for keys (`keyed`)

HEADERS: dict[str, Schema] = {
    "Content-Location": {"description": "Where these very rows are.", "schema": {"type": "string"}},
    "Content-Range": {
        "description": "Which rows these are, and of how many: `0-19/57`, `*/0`; `*` for a number that was not asked.",
        "schema": {"type": "string", "pattern": r"^(\*|[0-9]+-[0-9]+)/(\*|[0-9]+)$"},
    },
    "ETag": {
        "description": "Names the very bytes of the body; for one row it begins with its version.",
        "schema": {"type": "string", "pattern": '^"[^"]+"$'},
    },
    "Idempotent-Replayed": {
        "description": "`true`: this is the answer that the first request with this Idempotency-Key had.",
        "schema": {"type": "string"},
    },
    "Link": {"description": 'The next page of the same request: `<...>; rel="next"`.', "schema": {"type": "string"}},
    "Location": {"description": "Where the new row is.", "schema": {"type": "string"}},
    "Preference-Applied": {"description": "The preferences that were honoured.", "schema": {"type": "string"}},
    "Proxy-Status": {"description": "The error's code.", "schema": {"type": "string"}},
    "RateLimit": {
        "description": "Requests that are left, and seconds until there are more, where they are counted: "
        '`"default";r=599;t=60`.',
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {
        "description": 'Requests in so many seconds: `"default";q=600;w=60`.',
        "schema": {"type": "string"},
    },
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}},
    "WWW-Authenticate": {"description": "What is missing.", "schema": {"type": "string"}},
}


def refusals() -> dict[str, Schema]:
    """Components by status."""
    return {f"status{status}": _refusal(status) for status in REFUSALS}


def _refusal(status: int) -> Schema:
    names = ["Proxy-Status"]
    names += ["Retry-After"] if status in WITH_RETRY else []
    names += ["WWW-Authenticate"] if status == 401 else []
    names += ["RateLimit", "RateLimit-Policy"] if status == 429 else []
    body = {JSON: {"schema": reference("Error")}}
    return {"description": REFUSALS[status], "headers": headers(*names), "content": body}


def refused(audience: Audience, *statuses: int) -> dict[str, Schema]:
    """References to the refusals that this audience can get."""
    return {
        str(status): {"$ref": f"#/components/responses/status{status}"}
        for status in sorted(statuses)
        if (audience.surface.items or status not in PLAIN_ONLY)
        and (status != 403 or audience.view is not Role.ANONYMOUS)  # they get 401
    }


def keyed() -> dict[str, Schema]:
    """The refusals of a POST that may come again under an Idempotency-Key, on both surfaces."""
    return {str(status): {"$ref": f"#/components/responses/status{status}"} for status in (409, 422)}


def headers(*names: str) -> dict[str, Schema]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def success(status: int, content: dict[str, Schema] | None, *names: str) -> dict[str, Schema]:
    """One answer without a refusal."""
    answer: Schema = {"description": HTTPStatus(status).phrase}
    if names:
        answer["headers"] = headers(*names)
    if content is not None:
        answer["content"] = {media: {"schema": schema} for media, schema in content.items()}
    return {str(status): answer}


def array_of(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def rows_of(row: Schema, asked: Schema | None = None) -> dict[str, Schema]:
    """Rows in every form that `Accept` may name; `asked` is what JSON shows where that is not a list."""
    rows = array_of(row)
    return {JSON: asked or rows, ONE: row, MANY: asked or rows, CSV: {"type": "string"}}
