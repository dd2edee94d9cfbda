"""What an import did: counts, problems, notes.

    754 files: 750 posts created, 4 not posts, 0 errors

That is the last line of the text form; the machine form is made of plain values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from app.importers.records import NotAPost, Note, Place, PostRecord, Problem

Fate = Literal["created", "unchanged", "exists", "updated"]


@dataclass(slots=True)
class Outcome:
    """What one batch did. Users and tags are sets of names: a dry run makes the same one in several batches."""

    created: int = 0
    unchanged: int = 0
    exists: int = 0
    updated: int = 0
    users_made: set[str] = field(default_factory=set)
    users_found: set[str] = field(default_factory=set)
    tags_made: set[str] = field(default_factory=set)
    notes: list[Note] = field(default_factory=list)
    posts: list[PostRecord] = field(default_factory=list)

    def count(self, fate: Fate) -> None:
        setattr(self, fate, getattr(self, fate) + 1)


@dataclass(slots=True)
class Report:
    """The sum of the batches that are in the database; in a dry run, of those that would be. `unit` names what
    `total` counts.
    """

    source: str = ""
    total: int | None = None
    unit: str = "files"
    dry_run: bool = False
    interrupted: bool = False
    created: int = 0
    unchanged: int = 0
    exists: int = 0
    updated: int = 0
    users_made: set[str] = field(default_factory=set)
    users_found: set[str] = field(default_factory=set)
    tags_made: set[str] = field(default_factory=set)
    authors: set[str] = field(default_factory=set)
    shared: dict[str, tuple[str, ...]] = field(default_factory=dict)  # slug -> authors, where there are several
    not_posts: list[NotAPost] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: dict[Note, None] = field(default_factory=dict)  # an ordered set: batches of a dry run repeat theirs

    def add(self, outcome: Outcome) -> None:
        for fate in ("created", "unchanged", "exists", "updated"):
            setattr(self, fate, getattr(self, fate) + getattr(outcome, fate))
        self.users_made |= outcome.users_made
        self.users_found |= outcome.users_found - self.users_made
        self.tags_made |= outcome.tags_made
        self.notes.update(dict.fromkeys(outcome.notes))
        for post in outcome.posts:
            self.authors.update(post.authors)
            if len(post.authors) > 1:
                self.shared[post.slug] = post.authors

    @property
    def posts(self) -> int:
        return self.created + self.unchanged + self.exists + self.updated

    @property
    def done(self) -> int:
        """How many of the source's files or rows are dealt with."""
        done = self.posts + len(self.not_posts) + len(self.problems)
        return done if self.total is None else min(done, self.total)  # a user may be a problem too

    @property
    def exit_code(self) -> int:
        """130 as the shells have it for Ctrl-C; 1 when something was skipped by error."""
        return 130 if self.interrupted else int(bool(self.problems))

    def summary(self) -> str:
        parts = [f"{self.created} posts created"]
        parts += [f"{self.unchanged} unchanged"] if self.unchanged else []
        parts += [f"{self.exists} exist and differ"] if self.exists else []
        parts += [f"{self.updated} updated"] if self.updated else []
        parts += [f"{len(self.not_posts)} not posts", f"{len(self.problems)} errors"]
        return f"{self._extent()}: {', '.join(parts)}"

    def _extent(self) -> str:
        if self.interrupted:
            return f"interrupted after {self.done} of {'?' if self.total is None else self.total} {self.unit}"
        return f"{self.done if self.total is None else self.total} {self.unit}"

    def lines(self, *, verbose: bool = False) -> Iterator[str]:
        """Problems first, the summary last, where a terminal shows it."""
        for problem in self.problems:
            yield f"{problem.place}: {problem.reason}"
        for note in self.notes:
            yield f"{note.place}: note: {note.reason}"
        if verbose:
            for skipped in self.not_posts:
                yield f"{skipped.place}: not a post: {skipped.reason}"
            for slug, authors in self.shared.items():
                yield f"{slug}: {authors[0]} (author), {', '.join(authors[1:])}"
        yield f"{len(self.authors)} authors; users: {len(self.users_made)} created, {len(self.users_found)} found"
        if self.shared:
            hint = "" if verbose else " (--verbose names them)"
            yield f"{len(self.shared)} posts have several authors; the first is the author{hint}"
        yield f"{len(self.tags_made)} tags created"
        yield self.summary()
        if self.exists:
            yield "posts that exist and differ were left as they are; --update changes them"
        if self.dry_run:
            yield "nothing was written: this was a dry run"

    def plain(self) -> dict[str, Any]:
        """The machine form, ready for JSON."""
        return {
            "source": self.source,
            "dry_run": self.dry_run,
            "interrupted": self.interrupted,
            "total": self.total,
            "done": self.done,
            "created": self.created,
            "unchanged": self.unchanged,
            "exists": self.exists,
            "updated": self.updated,
            "not_posts": [_plain(record) for record in self.not_posts],
            "problems": [_plain(record) for record in self.problems],
            "notes": [_plain(record) for record in self.notes],
            "authors": sorted(self.authors),
            "several_authors": {slug: list(authors) for slug, authors in self.shared.items()},
            "users_created": sorted(self.users_made),
            "users_found": sorted(self.users_found),
            "tags_created": sorted(self.tags_made),
        }


def _plain(record: NotAPost | Note | Problem) -> dict[str, Any]:
    return {"path": str(Place(record.place.path)), "line": record.place.line, "reason": record.reason}
