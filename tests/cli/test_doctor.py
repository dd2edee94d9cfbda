"""The check-up: what each check finds, what `broadsheet doctor` prints of it and what `serve` makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.cli.checkup import configuration, databases, files
from app.cli.checkup.examine import examine, refuse
from app.cli.checkup.finding import Finding, Level, fine, refusal
from app.cli.checkup.policy import NEVER_SERVED, policy
from app.errors import BadSetting
from app.models import Base
from app.resources import CATALOG
from app.settings import AccountSettings, RateLimits, Settings
from tests.cli.test_program import SECONDS, execute, free_port, serving

OK, WARN, REFUSE = Level.OK, Level.WARN, Level.REFUSE
HTTPS = "https://blog.example.org"
POSTGRESQL = "postgresql://ada@db/blog"
GRACE = 40.0


# ---- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "level", "settings"),
    [
        (configuration.bind, OK, Settings()),
        (configuration.bind, OK, Settings(host="::1", production=True)),
        (configuration.bind, OK, Settings(host="localhost")),
        (configuration.bind, REFUSE, Settings(host="0.0.0.0")),
        (configuration.bind, REFUSE, Settings(host="::", public_url="http://blog.example.org")),
        (configuration.bind, OK, Settings(host="0.0.0.0", public_url=HTTPS)),
        (configuration.bind, OK, Settings(host="0.0.0.0", trusted_proxies=("10.0.0.0/8",))),
        (configuration.proxies, OK, Settings()),
        (configuration.proxies, WARN, Settings(public_url=HTTPS)),
        (configuration.proxies, OK, Settings(public_url=HTTPS, trusted_proxies=("10.0.0.1",))),
        (configuration.public_url, OK, Settings()),
        (configuration.public_url, OK, Settings(production=True, public_url=HTTPS)),
        (configuration.public_url, WARN, Settings(production=True)),
        (configuration.public_url, WARN, Settings(production=True, public_url="http://blog.example.org")),
        (configuration.hosts, OK, Settings()),
        (configuration.hosts, OK, Settings(production=True, allowed_hosts=("blog.example.org",))),
        (configuration.hosts, WARN, Settings(production=True)),
        (configuration.sign_up, OK, Settings()),
        (configuration.sign_up, OK, Settings(host="0.0.0.0")),
        (configuration.sign_up, WARN, Settings(host="0.0.0.0", accounts=AccountSettings(sign_up="open"))),
        (configuration.mailer, OK, Settings()),
        (configuration.mailer, OK, Settings(production=True)),
        (configuration.mailer, WARN, Settings(host="0.0.0.0", accounts=AccountSettings(mailer="console"))),
        (configuration.mailer, REFUSE, Settings(production=True, accounts=AccountSettings(mailer="console"))),
        (configuration.confirmation, OK, Settings(accounts=AccountSettings(confirm_email=True))),
        (configuration.confirmation, REFUSE, Settings(accounts=AccountSettings(confirm_email=True, mailer="none"))),
        (configuration.confirmation, REFUSE, Settings(production=True, accounts=AccountSettings(confirm_email=True))),
        (configuration.anonymous, OK, Settings(accounts=AccountSettings(anonymous=True))),
        (
            configuration.anonymous,
            WARN,
            Settings(accounts=AccountSettings(anonymous=True, rates=RateLimits(anonymous_sign_in=0))),
        ),
        (configuration.origins, OK, Settings()),
        (configuration.origins, WARN, Settings(production=True)),
        (configuration.origins, OK, Settings(production=True, origins=(HTTPS,))),
        (configuration.access, OK, Settings(accounts=AccountSettings(access_seconds=600))),
        (configuration.access, WARN, Settings(accounts=AccountSettings(access_seconds=599))),
        (configuration.rates, OK, Settings(production=True)),
        (configuration.rates, OK, Settings(accounts=AccountSettings(rates=RateLimits(token=0)))),
        (configuration.rates, WARN, Settings(production=True, accounts=AccountSettings(rates=RateLimits(token=0)))),
        (configuration.rate_store, OK, Settings(database_url=POSTGRESQL)),
    ],
)
def test_check_of_settings(check: Callable[[Settings], Finding], level: Level, settings: Settings) -> None:
    found = check(settings)
    assert found.level is level
    assert bool(found.advice) >= (level is not OK), "who is warned is told what to do"


def test_memory_for_rates_is_explained_where_several_could_serve() -> None:
    assert "right for one process" in configuration.rate_store(Settings(database_url=POSTGRESQL)).found
    assert configuration.rate_store(Settings()).found == "memory"


def test_limits_that_are_off_are_named() -> None:
    rates = RateLimits(token=0, sign_up=0)
    found = configuration.rates(Settings(production=True, accounts=AccountSettings(rates=rates))).found
    assert found == "without a limit: token, sign_up"


def test_no_check_is_left_out() -> None:
    for module, tables in (
        (configuration, [configuration.CHECKS]),
        (files, [files.CHECKS]),
        (databases, [databases.SERVER_CHECKS, databases.FILE_CHECKS]),
    ):
        returning = [value for name, value in vars(module).items() if _is_check(module, name, value)]
        assert {check.__name__ for table in tables for check in table} == {check.__name__ for check in returning}


def _is_check(module: Any, name: str, value: Any) -> bool:
    """Every public function that finds something, but for those that need more than a check is given."""
    if name.startswith("_") or getattr(value, "__module__", "") != module.__name__ or not callable(value):
        return False
    return "Finding" in str(value.__annotations__.get("return")) and name not in ("ladder", "schema")


# ---- rules ----------------------------------------------------------------------------------------------------------


def test_table_without_rule_is_refused() -> None:
    served = {resource.name for resource in CATALOG}
    assert policy(CATALOG, served | NEVER_SERVED).level is OK
    found = policy(CATALOG, served | NEVER_SERVED | {"drafts"})
    assert (found.level, found.found) == (REFUSE, "drafts has no rule")


def test_served_table_that_never_should_be_is_refused() -> None:
    found = policy(CATALOG, [], NEVER_SERVED | {"users"})
    assert found.level is REFUSE
    assert found.found.startswith("users is served")


def test_tables_that_are_never_served_exist() -> None:
    assert Base.metadata.tables.keys() >= NEVER_SERVED


# ---- the commands ---------------------------------------------------------------------------------------------------


def test_refusals_stop_a_start_in_production_alone() -> None:
    findings = [fine("one", "well"), refusal("two", "bad", "mend it"), refusal("three", "worse", "mend that")]
    refuse(findings, Settings())
    refuse(findings[:1], Settings(production=True))
    with pytest.raises(BadSetting, match=r"^two: bad; mend it\.\nthree: worse; mend that\.$"):
        refuse(findings, Settings(production=True))


async def test_server_that_does_not_answer_is_a_finding() -> None:
    settings = Settings(database_url=f"postgresql://x:hunter2@127.0.0.1:{free_port()}/blog")
    last = (await examine(settings, GRACE))[-1]
    assert (last.level, last.name) == (REFUSE, "database")
    assert "Database connection error" in last.found
    assert "hunter2" not in last.sentence


def test_doctor_makes_nothing(tmp_path: Path) -> None:
    done = execute(tmp_path, "doctor")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[-1].startswith("refuse  database      there is no database at ")
    assert not (tmp_path / "data").exists()


def test_doctor_prints_a_line_for_each_check(tmp_path: Path) -> None:
    """Takes three starts of the program."""
    assert execute(tmp_path, "migrate").returncode == 0
    done = execute(tmp_path, "doctor")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert {line.split()[0] for line in lines} <= {"ok", "warn"}
    assert "ok      quick-check   the file is whole" in lines
    shown = json.loads(execute(tmp_path, "doctor", "--json").stdout)
    assert [row["name"] for row in shown] == [line.split()[1] for line in lines]
    assert all(row.keys() == {"level", "name", "found", "advice"} for row in shown)


def test_serve_warns_and_goes_on(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path, port, BROADSHEET_ACCESS_SECONDS="300") as (process, _):
        process.terminate()
        _, err = process.communicate(timeout=SECONDS)
    said = [json.loads(line) for line in err.splitlines()]
    warnings = [line["message"] for line in said if line["logger"] == "broadsheet.checkup"]
    assert all(line["level"] == "warning" for line in said if line["logger"] == "broadsheet.checkup")
    assert any(message.startswith("access: access tokens live 300 s") for message in warnings)
    assert not any("quick-check" in message for message in warnings)
