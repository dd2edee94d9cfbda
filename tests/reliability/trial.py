"""What a reliability trial is: a workload with faults, the invariants that must hold, and the guards without which they
do not.

    T12 = Trial("T12", "lost update", run, {"version in UPDATE": no_version})
    figures = await T12.run(Conditions(url, folder, seed=7))
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Guard = Callable[[], AbstractContextManager[Any]]  # removes the guard while the block runs


@dataclass(frozen=True, slots=True)
class Conditions:
    """Where and how long. `url` is a migrated database that the trial may fill and break; `long` is the form of
    `make torture`; `without` names the guard to remove, for which a few seconds must do.
    """

    url: str
    folder: Path
    seed: int
    long: bool = False
    without: str | None = None

    @property
    def backend(self) -> str:
        return "sqlite" if self.url.startswith("sqlite") else "postgresql"


@dataclass(slots=True)
class Figures:
    """What a run did: counts and times by name, in the order of printing, and what it found wrong, in words."""

    counts: dict[str, int | float | str] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.violations.append(otherwise)

    def line(self) -> str:
        said = ", ".join(f"{name} {_text(value)}" for name, value in self.counts.items())
        return f"{said}, violations {len(self.violations)}"


@dataclass(frozen=True, slots=True)
class Trial:
    """`guards` maps a guard, in words, to how it is removed; `backends` where the trial has a meaning."""

    number: str
    subject: str
    work: Callable[[Conditions], Awaitable[Figures]]
    guards: Mapping[str, Guard] = field(default_factory=dict)
    backends: tuple[str, ...] = ("sqlite", "postgresql")

    async def run(self, conditions: Conditions) -> Figures:
        """Prints one line. The caller looks at `violations`: there must be none, or some where a guard is missing."""
        removed = self.guards[conditions.without]() if conditions.without else contextlib.nullcontext()
        with removed:
            figures = await self.work(conditions)
        without = f" without {conditions.without}" if conditions.without else ""
        print(f"{self.number} {self.subject}, {conditions.backend}, seed {conditions.seed}{without}: {figures.line()}")
        return figures


def _text(value: float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
