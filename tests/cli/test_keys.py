"""`broadsheet keys` and its verbs: what is printed where, what is refused, exit codes. On both databases."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from app.accounts.api_keys import RESERVED
from app.cli.keys import ROTATIONS, duration, grace, lifetime
from app.cli.main import main
from app.data.database import Database
from app.data.rules import SYSTEM
from app.resources import CATALOG
from tests.conftest import in_thread
from tests.factories import make_user

KEY = r"sb_(publishable|secret)_[0-9A-Za-z]{22}_[0-9A-Za-z]{8}"


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def key(self) -> str:
        """The one line of standard output."""
        assert self.code == 0, self.err
        assert re.fullmatch(KEY + "\n", self.out)
        return self.out.strip()


Program = Callable[..., Done]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """`broadsheet` in a thread of its own, since it starts a loop."""
    monkeypatch.setenv("BROADSHEET_DATA_DIR", str(tmp_path / "data"))

    def enter(words: tuple[str, ...]) -> int:
        try:
            return main(words)
        except SystemExit as exc:  # of argparse
            return int(exc.code or 0)

    def execute(*words: str) -> Done:
        with ThreadPoolExecutor(1) as executor:
            code = executor.submit(enter, words).result()
        return Done(code, *capsys.readouterr())

    return execute


@pytest.fixture
def keys(program: Program, spare_url: str, monkeypatch: pytest.MonkeyPatch) -> Program:
    """`broadsheet keys` on a migrated database."""
    monkeypatch.setenv("BROADSHEET_DATABASE_URL", spare_url)
    return lambda *words: program("keys", *words)


def listed(keys: Program) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(keys("list", "--json").out)
    return found


# ---- the first-run keys ---------------------------------------------------------------------------------------------


def test_keys_without_a_verb_open_no_database(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROADSHEET_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    shown = json.loads(program("keys", "--json").out)
    assert list(shown) == ["publishable", "secret"]
    assert program("keys").out == f"publishable  {shown['publishable']}\nsecret       {shown['secret']}\n"


@pytest.mark.parametrize("kind", ["publishable", "secret"])
def test_rotated_first_run_key_is_the_one_that_is_printed(keys: Program, kind: str) -> None:
    before = json.loads(keys("--json").out)
    new = keys("rotate", kind).key
    assert new.startswith(f"sb_{kind}_")
    assert json.loads(keys("--json").out) == before | {kind: new}
    (old,) = listed(keys)
    assert (old["name"], old["kind"], old["state"]) == (f"{kind} (first run)", kind, "revoked")


def test_old_first_run_key_may_have_a_grace(keys: Program) -> None:
    keys("rotate", "secret", "--grace", "24h")
    keys("rotate", "secret", "--grace", "90")
    for old, seconds in zip(listed(keys), (86_400, 90), strict=True):
        created, revoked = (datetime.fromisoformat(str(old[name])) for name in ("created_at", "revoked_at"))
        assert (old["state"], revoked - created) == ("live", timedelta(seconds=seconds))


def test_words_of_rotate_are_no_names_of_keys(keys: Program) -> None:
    assert set(ROTATIONS) <= set(RESERVED)
    for word in ROTATIONS:
        done = keys("create", word, "--kind", "secret")
        assert (done.code, done.err) == (1, f"broadsheet: a key cannot be called {word} Say what it is for.\n")


# ---- named keys -----------------------------------------------------------------------------------------------------


def test_new_key_is_printed_once_and_alone(keys: Program, tmp_path: Path) -> None:
    done = keys("create", "my app", "--kind", "secret", "--scope", "posts:read", "--scope", "rpc/search")
    assert done.err == "This key is not shown again: keep it now.\n"
    assert done.key.startswith("sb_secret_")
    for shown in (keys("list"), keys("list", "--json")):
        assert done.key not in shown.out + shown.err
    (key,) = listed(keys)
    assert list(key) == [
        *("id", "name", "kind", "scopes", "user", "fingerprint", "created_at", "expires_at", "revoked_at", "state")
    ]
    assert (key["name"], key["kind"], key["scopes"], key["user"]) == (
        "my app",
        "secret",
        ["posts:read", "rpc/search"],
        None,
    )
    assert (key["expires_at"], key["state"]) == (None, "live")


def test_list_is_a_table_for_people(keys: Program) -> None:
    keys("create", "my app", "--kind", "publishable", "--expires", "90d")
    head, row = keys("list").out.splitlines()
    assert head.split() == [
        "id",
        "name",
        "kind",
        "scopes",
        "user",
        "fingerprint",
        "created",
        "expires",
        "revoked",
        "state",
    ]
    assert re.fullmatch(
        r"\d+ +my app +publishable +all +- +[0-9a-f]{16} +(\d{4}-\d\d-\d\d \d\d:\d\dZ +){2}- +live", row
    )


def test_flag_before_the_verb_counts_too(keys: Program) -> None:
    assert keys("--json", "list").out == keys("list", "--json").out == "[]\n"


async def add_user(url: str, name: str) -> None:
    async with Database(url, CATALOG) as database, database.writing(SYSTEM) as session:
        await make_user(session, username=name)


def test_key_of_a_user_is_made_by_username(keys: Program, spare_url: str) -> None:
    in_thread(add_user(spare_url, "ada"))
    assert keys("create", "hers", "--user", "Ada", "--scope", "posts:write").key.startswith("sb_secret_")
    (key,) = listed(keys)
    assert (key["kind"], key["user"]) == ("user", "ada")
    unknown = keys("create", "x", "--user", "nobody")
    assert (unknown.code, unknown.err) == (1, "broadsheet: there is no user called nobody\n")
    assert keys("create", "x", "--user", "no such name").code == 1


def test_key_expires_after_the_time_that_is_asked_for(keys: Program) -> None:
    keys("create", "short", "--kind", "secret", "--expires", "15m")
    (key,) = listed(keys)
    created, expires = (datetime.fromisoformat(str(key[name])) for name in ("created_at", "expires_at"))
    assert expires - created == timedelta(minutes=15)


def test_key_is_revoked_by_name_and_by_id(keys: Program) -> None:
    for name in ("one", "two"):
        keys("create", name, "--kind", "secret")
    one, two = (key["id"] for key in listed(keys))
    assert keys("revoke", "one").out == f"revoked: key {one}; a running service notices within 5 seconds\n"
    assert keys("revoke", str(two)).code == 0
    assert [key["state"] for key in listed(keys)] == ["revoked", "revoked"]
    again = keys("revoke", "one")
    assert (again.code, again.out) == (1, "")
    assert again.err == "broadsheet: no key that works is called one See the keys with: broadsheet keys list\n"


def test_first_run_keys_are_rotated_and_not_revoked(keys: Program) -> None:
    assert "keys rotate secret" in keys("revoke", "secret").err


def test_rotation_prints_the_new_key(keys: Program) -> None:
    old = keys("create", "app", "--kind", "secret", "--scope", "*:read").key
    new = keys("rotate", "app", "--grace", "24h").key
    assert new != old
    assert [(key["scopes"], key["state"]) for key in listed(keys)] == [(["*:read"], "live")] * 2
    assert keys("rotate", "other").code == 1


def test_database_is_migrated_first(program: Program, empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROADSHEET_DATABASE_URL", empty_url)
    assert program("keys", "create", "app", "--kind", "secret").key
    assert len(json.loads(program("keys", "list", "--json").out)) == 1


# ---- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["create", "app"], 2, "one of the arguments --kind --user is required"),
        (["create", "app", "--kind", "user"], 2, "invalid choice"),
        (["create", "app", "--kind", "secret", "--user", "ada"], 2, "not allowed with"),
        (["create", "app", "--kind", "secret", "--expires", "soon"], 2, "a time such as 15m, 24h or 90d"),
        (["create", "app", "--kind", "secret", "--expires", "0d"], 2, "no time at all"),
        (["create", "app", "--kind", "secret", "--expires", "99999d"], 2, "at most 3650d"),
        (["create", "app", "--kind", "secret", "--scope", "post:read"], 1, "names no table Perhaps you meant posts"),
        (
            ["create", "app", "--kind", "secret", "--scope", "rpc/serch"],
            1,
            "names no function Perhaps you meant search",
        ),
        (["create", "app", "--kind", "secret", "--scope", "read"], 1, "is no scope A scope is posts:read"),
        (["create", "12", "--kind", "secret"], 1, "a key cannot be called 12"),
        (["create", "", "--kind", "secret"], 1, "1 to 100 printable characters"),
        (["rotate", "app", "--grace", "-1"], 2, "expected"),
        (["rotate", "app"], 1, "no key that works is called app"),
        (["revoke", "7"], 1, "no key that works is called 7"),
        (["sing"], 2, "invalid choice"),
    ],
)
def test_bad_input_is_refused_in_one_line(keys: Program, words: list[str], code: int, said: str) -> None:
    done = keys(*words)
    assert (done.code, done.out) == (code, "")
    assert said in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("text", "time"),
    [("90s", timedelta(seconds=90)), ("15m", timedelta(minutes=15)), ("24h", timedelta(1)), ("90d", timedelta(90))],
)
def test_durations(text: str, time: timedelta) -> None:
    assert duration(text) == lifetime(text) == grace(text) == time


def test_bare_number_is_seconds_for_a_grace_alone() -> None:
    assert grace("3600") == timedelta(hours=1)
    with pytest.raises(Exception, match="a time such as"):
        lifetime("3600")
