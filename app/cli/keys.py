"""`broadsheet keys`: print the two keys of this data directory, made if there are none."""

from __future__ import annotations

import argparse
import json
from typing import Any

from app.accounts.keys import load_keys, vars_of
from app.settings import Settings


def register(subparsers: Any) -> None:
    parser = subparsers.add_parser("keys", help="print the publishable and the secret key")
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    keys = vars_of(load_keys(settings.data_dir))
    if arguments.json:
        print(json.dumps(keys))
    else:
        print(*(f"{kind:<12} {key}" for kind, key in keys.items()), sep="\n")
    return 0
