"""Write a migration from the models, then try it: up, down, up and a check, on both databases.

python -m tests.revision -m "add comments"
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from alembic import command

from app.data import migrating
from app.data.schema import newest_revision
from tests.drift import differences
from tests.localpg import LocalPostgres

LOOK_AT = """Look at:
 - what was generated: renamed columns appear as one dropped and one added
 - a new column that is NOT NULL needs a default or a backfill for the rows that exist
 - rows that it adds or removes on purpose: name their tables in `changes_rows`
 - posts and users in batch mode: search_objects.drop() before, search_objects.create() after
 - downgrade(): what it cannot bring back
 - locks on PostgreSQL: there alone (`op.get_bind().dialect.name`) make indexes of large tables inside
   `with op.get_context().autocommit_block()` with postgresql_concurrently=True, and new constraints NOT VALID first"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.revision", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("-m", "--message", required=True, help="what changes, in a few words")
    message = parser.parse_args(arguments).message
    with tempfile.TemporaryDirectory() as folder, LocalPostgres() as server:
        path = write(server.url(), message)
        print(f"{path}\n")
        urls = {"sqlite": f"sqlite:///{Path(folder) / 'revision.db'}", "postgresql": server.url()}
        problems = [f"{name}: {p}" for name, url in urls.items() for p in try_out(url)]
    for problem in problems:
        print(problem, file=sys.stderr)
    print(LOOK_AT if not problems else "\nChange the file until it agrees with the models: make check tells.")
    return 1 if problems else 0


def write(url: str, message: str) -> Path:
    """Autogenerate once, against PostgreSQL: it keeps types that SQLite forgets."""
    migrating.migrate(url)
    number = f"{int(newest_revision()) + 1:04d}"
    script = command.revision(migrating.configuration(url), message=message, autogenerate=True, rev_id=number)
    assert script is not None
    assert not isinstance(script, list)
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", script.path], check=True)
    return Path(script.path)


def try_out(url: str) -> list[str]:
    """Up, down, up, check. Differences to the models; a migration that fails raises."""
    for target in ("head", "-1", "head"):
        migrating.migrate(url, target)
    return differences(url)


if __name__ == "__main__":
    sys.exit(main())
