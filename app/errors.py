"""Every refusal that Broadsheet answers, with its code, status and texts. Nothing here knows HTTP or a database.

BroadsheetError
 ├─ BadQuery            400   what was asked cannot be read or does not exist (PGRST1xx, 42703, ...)
 ├─ BadBody             400   the body cannot be read (PGRST102)
 ├─ BadValue            400   a value in a body does not fit; 422 on the plain surface
 ├─ Unauthorized        401   no key, or a wrong one
 ├─ Forbidden           403   the caller may not do this
 ├─ NotFound            404   no such table, path or row
 ├─ ManyFound           409   one row was asked for and several match
 ├─ Conflict            409   unique or foreign key
 ├─ Stale               412   the row has another version than the caller expects
 ├─ TooLarge            413   body or URL over its limit
 └─ Unavailable         503   the database cannot answer now; `retry_after` seconds

`plain_status` is the status on the plain surface (`/`) where it differs from the dialect's (`/rest/v1`).
"""

from __future__ import annotations

from typing import Any


class BroadsheetError(Exception):
    """A refusal: `code` is a PGRST code or a SQLSTATE, `details` and `hint` may be None."""

    status = 400
    plain_status: int | None = None
    code = "PGRSTX00"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        details: Any = None,
        hint: str | None = None,
        status: int | None = None,
        plain_status: int | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.hint = hint
        self.retry_after = retry_after
        if code is not None:
            self.code = code
        if status is not None:
            self.status = status
            self.plain_status = None
        if plain_status is not None:
            self.plain_status = plain_status

    def body(self) -> dict[str, Any]:
        """The four keys that every client expects (dialect 1.2)."""
        return {"code": self.code, "message": self.message, "details": self.details, "hint": self.hint}


class BadQuery(BroadsheetError):
    code = "PGRST100"


class BadBody(BroadsheetError):
    code = "PGRST102"


class BadValue(BroadsheetError):
    plain_status = 422
    code = "22P02"


class Unauthorized(BroadsheetError):
    status = 401
    code = "PGRST301"


class Forbidden(BroadsheetError):
    status = 403
    code = "42501"


class NotFound(BroadsheetError):
    status = 404
    code = "PGRST125"


class ManyFound(BroadsheetError):
    status = 409
    code = "PGRST116"


class Conflict(BroadsheetError):
    status = 409
    code = "23505"


class Stale(BroadsheetError):
    status = 412
    code = "BRD412"


class TooLarge(BroadsheetError):
    status = 413
    code = "BRD413"


class Unavailable(BroadsheetError):
    status = 503
    code = "PGRST000"


class Internal(BroadsheetError):
    """A fault of ours. The cause is logged, never shown."""

    status = 500
    code = "PGRSTX00"


class BadSetting(Exception):
    """The program cannot start as configured: one line for the operator, exit code 2."""
