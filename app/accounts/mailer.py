"""Mails, in two modes: `none` sends nothing, so that what needs a mail is refused before; `console`, for development,
writes the mail with its link to the log, where whoever reads the log can follow it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from app.accounts.one_time import Kind

log = logging.getLogger("broadsheet.mail")

SUBJECTS = {
    Kind.SIGNUP: "Confirm your e-mail address",
    Kind.RECOVERY: "Reset your password",
    Kind.MAGICLINK: "Sign in",
    Kind.INVITE: "You are invited",
    Kind.EMAIL_CHANGE: "Confirm your new e-mail address",
}


@dataclass(frozen=True, slots=True)
class Mail:
    """A link, and the digits that may be typed instead."""

    to: str
    subject: str
    link: str = field(repr=False)
    code: str = field(repr=False)


def is_able(mode: str) -> bool:
    """Whether this mode sends anything."""
    return mode != "none"


def send(mode: str, mail: Mail) -> None:
    assert mode == "console", "what needs a mail is refused where none is sent"
    log.info("mail", extra={"to": mail.to, "subject": mail.subject, "link": mail.link, "code": mail.code})
