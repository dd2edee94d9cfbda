"""The program `broadsheet`: finds the command, reads the settings, turns refusals into one line and an exit code.

Exit codes: 0 done, 1 refused, 2 wrong arguments or settings, 130 interrupted.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from app import __version__
from app.errors import BadSetting, BroadsheetError
from app.settings import Settings

COMMANDS = {
    "serve": "app.cli.serve",
    "migrate": "app.cli.migrate",
    "keys": "app.cli.keys",
    "create-admin": "app.cli.create_admin",
    "import": "app.cli.importing",
    "export": "app.cli.export",
    "purge": "app.cli.purge",
    "demo": "app.cli.demo",
    "doctor": "app.cli.doctor",
}


# Errors of these packages say what is wrong with the database that was named, not with us.
DRIVERS = ("sqlalchemy", "sqlite3", "asyncpg", "alembic")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(words)
    except BadSetting as exc:
        return _refuse(str(exc), 2)
    except BroadsheetError as exc:
        return _refuse(" ".join(filter(None, (exc.message, exc.hint))), 1)
    except KeyboardInterrupt:
        return 130
    except (OSError, EOFError) as exc:
        return _refuse(str(exc) or "the input ended too early", 1)
    except Exception as exc:
        if not type(exc).__module__.startswith(DRIVERS):
            raise
        return _refuse(f"the database cannot be used: {str(exc).partition(chr(10))[0]}", 1)


def _run(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="broadsheet", description="A publishing backend on SQLite or PostgreSQL.")
    parser.add_argument("--version", action="version", version=f"broadsheet {__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    _register(words, subparsers)
    parsed = parser.parse_args(words)
    code: int = parsed.run(parsed, Settings.from_env())
    return code


def _register(words: Sequence[str], subparsers: Any) -> None:
    """Imports here, so that a command imports only what it needs. All of that stays: the collector would look through
    it some forty times, 55 ms.
    """
    gc.disable()
    try:
        for module in _modules(words):
            importlib.import_module(module).register(subparsers)
    finally:
        gc.freeze()
        gc.enable()


def _modules(words: Sequence[str]) -> Iterable[str]:
    """The module of the command that is called; all of them for help and for a word that is no command."""
    if words and words[0] in COMMANDS:
        return [COMMANDS[words[0]]]
    return [module for module in COMMANDS.values() if importlib.util.find_spec(module) is not None]


def _refuse(message: str, code: int) -> int:
    for line in filter(None, map(str.strip, message.splitlines())):
        print(f"broadsheet: {line}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
