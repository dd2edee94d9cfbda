"""Who asks in these tests, and short forms for what comes."""

from __future__ import annotations

from typing import Any

from app.data.rules import ANONYMOUS, SERVICE, SYSTEM, user

ADA, BOB, MIA, ROOT = user(1, "author"), user(2, "author"), user(3), user(4, "admin")
CALLERS = {
    "anonymous": ANONYMOUS,
    "member": MIA,
    "author": ADA,
    "other": BOB,
    "admin": ROOT,
    "service": SERVICE,
    "system": SYSTEM,
}


def ids(documents: Any) -> list[int]:
    return [document["id"] for document in documents]
