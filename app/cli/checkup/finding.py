"""A finding: what one check came to, how bad it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from app.settings import Settings


class Level(StrEnum):
    """`refuse` keeps a service in production from starting."""

    OK = "ok"
    WARN = "warn"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Finding:
    level: Level
    name: str
    found: str
    advice: str = ""

    @property
    def sentence(self) -> str:
        return "; ".join(filter(None, (self.found, self.advice)))


def fine(name: str, found: str, advice: str = "") -> Finding:
    return Finding(Level.OK, name, found, advice)


def warning(name: str, found: str, advice: str) -> Finding:
    return Finding(Level.WARN, name, found, advice)


def refusal(name: str, found: str, advice: str) -> Finding:
    return Finding(Level.REFUSE, name, found, advice)


def grave(settings: Settings, name: str, found: str, advice: str) -> Finding:
    """What cannot be borne in production, and only there."""
    return (refusal if settings.production else warning)(name, found, advice)


def refused(findings: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level is Level.REFUSE]
