"""Every setting: what it takes, what it refuses in one line, and that secrets are not shown."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from app.errors import BadSetting
from app.settings import AccountSettings, Limits, RateLimits, Settings, is_loopback

SOURCE = (Path(__file__).resolve().parent.parent / "app" / "settings.py").read_text()
SECRET = "5f0c1e9a7b3d4826f1a0c9e8d7b6a5948372615041f3e2d1"
TEXTS = ("BROADSHEET_DATABASE_URL", "BROADSHEET_MIGRATE_URL", "BROADSHEET_SECRET", "BROADSHEET_JWT_SECRET")


def from_env(**values: str) -> Settings:
    return Settings.from_env({f"BROADSHEET_{name}": value for name, value in values.items()})


def at(settings: Settings, path: str) -> Any:
    """`accounts.rates.token` of the settings."""
    found: Any = settings
    for name in path.split("."):
        found = getattr(found, name)
    return found


NUMBERS = [
    ("PORT", "port", 1, 65535),
    ("POOL_SIZE", "pool_size", 1, 1000),
    ("ACCESS_SECONDS", "accounts.access_seconds", 120, 86_400),
    ("REFRESH_DAYS", "accounts.refresh_days", 1, 3650),
    ("REUSE_SECONDS", "accounts.reuse_seconds", 0, 300),
    ("PASSWORD_BYTES", "accounts.password_bytes", 6, 64),
    ("IDEMPOTENCY_HOURS", "idempotency_hours", 1, 8760),
    ("DRAIN_SECONDS", "drain_seconds", 0, 300),
    ("RATE_ANONYMOUS", "accounts.rates.anonymous", 0, 1024 * 1024),
    ("RATE_SIGNED_IN", "accounts.rates.signed_in", 0, 1024 * 1024),
    ("RATE_TOKEN", "accounts.rates.token", 0, 1024 * 1024),
    ("RATE_SIGNUP", "accounts.rates.sign_up", 0, 1024 * 1024),
    ("RATE_ANONYMOUS_SIGNIN", "accounts.rates.anonymous_sign_in", 0, 1024 * 1024),
]
SWITCHES = [
    ("PRODUCTION", "production"),
    ("REQUIRE_KEY", "require_key"),
    ("TX_ROLLBACK", "allow_rollback"),
    ("REQUIRE_IF_MATCH", "require_if_match"),
    ("REQUIRE_IDEMPOTENCY_KEY", "require_idempotency_key"),
    ("SERVER_TIMING", "server_timing"),
    ("AGGREGATES", "limits.aggregates"),
    ("ANONYMOUS_SIGNIN", "accounts.anonymous"),
    ("CONFIRM_EMAIL", "accounts.confirm_email"),
]
CHOICES = [
    ("POOLER", "pooler", ("transaction",)),
    ("LOG_LEVEL", "log_level", ("debug", "info", "warning", "error")),
    ("RATE_STORE", "rate_store", ("memory", "database")),
    ("SIGNUP", "accounts.sign_up", ("open", "closed")),
    ("SIGNUP_ROLE", "accounts.sign_up_role", ("member", "author")),
    ("MAILER", "accounts.mailer", ("none", "console")),
]
LISTS = [
    ("CORS_ORIGINS", "origins", ("https://a.example", "https://b.example")),
    ("ALLOWED_HOSTS", "allowed_hosts", ("a.example", "b.example")),
    ("TRUSTED_PROXIES", "trusted_proxies", ("10.0.0.0/8", "::1")),
    ("REDIRECT_URLS", "accounts.redirects", ("https://a.example/in", "https://b.example/*")),
]
PLAIN = [
    ("HOST", "host", "0.0.0.0"),
    ("PUBLIC_URL", "public_url", "https://blog.example.org"),
    ("DATA_DIR", "data_dir", Path("/var/lib/broadsheet")),
    ("DATABASE_URL", "database_url", "postgresql://ada@db/blog"),
    ("MIGRATE_URL", "migrate_url", "postgresql://owner@db/blog"),
    ("SECRET", "secret", SECRET),
    ("JWT_SECRET", "jwt_secret", SECRET),
]
TESTED = {f"BROADSHEET_{row[0]}" for row in (*NUMBERS, *SWITCHES, *CHOICES, *LISTS, *PLAIN)}


def test_every_setting_stands_in_one_of_these_tables() -> None:
    assert set(re.findall(r'"(BROADSHEET_[A-Z_]+)"', SOURCE)) == TESTED


def test_nothing_set_is_all_defaults() -> None:
    assert Settings.from_env({}) == Settings()
    assert Settings.from_env(dict.fromkeys(TESTED, "")) == Settings()
    assert Settings.from_env(dict.fromkeys(TESTED - {"BROADSHEET_HOST", "BROADSHEET_DATA_DIR"}, "  ")) == Settings()


# ---- good and bad values --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "path", "least", "most"), NUMBERS)
def test_number_within_its_bounds_is_taken(name: str, path: str, least: int, most: int) -> None:
    for number in (least, most):
        assert at(from_env(**{name: f" {number} "}), path) == number


@pytest.mark.parametrize(("name", "path", "least", "most"), NUMBERS)
def test_other_numbers_are_refused(name: str, path: str, least: int, most: int) -> None:
    for text in (str(least - 1), str(most + 1), "many", "1.5", "-1", "1e3", "٣", "0x10", "1_000"):
        with pytest.raises(BadSetting, match=f"^BROADSHEET_{name} must be a number from {least} to {most}, not "):
            from_env(**{name: text})


@pytest.mark.parametrize(("name", "path"), SWITCHES)
def test_switch_is_on_or_off(name: str, path: str) -> None:
    for text in ("1", "true", "YES", " on "):
        assert at(from_env(**{name: text}), path) is True
    for text in ("0", "false", "No", "off"):
        assert at(from_env(**{name: text}), path) is False
    for text in ("2", "perhaps", "y"):
        with pytest.raises(BadSetting, match=f"^BROADSHEET_{name} must be 1 or 0, not "):
            from_env(**{name: text})


@pytest.mark.parametrize(("name", "path", "among"), CHOICES)
def test_choice_is_one_of_the_named(name: str, path: str, among: tuple[str, ...]) -> None:
    for text in among:
        assert at(from_env(**{name: f" {text.upper()} "}), path) == text
    with pytest.raises(BadSetting, match=f"^BROADSHEET_{name} must be one of .*{among[-1]}.*, not 'other'"):
        from_env(**{name: "other"})


@pytest.mark.parametrize(("name", "path", "values"), LISTS)
def test_list_is_parted_by_commas(name: str, path: str, values: tuple[str, ...]) -> None:
    assert at(from_env(**{name: f" {values[0]} ,, {values[1]},"}), path) == values


@pytest.mark.parametrize(("name", "path", "value"), PLAIN)
def test_text_is_taken_as_it_is(name: str, path: str, value: object) -> None:
    assert at(from_env(**{name: str(value)}), path) == value


@pytest.mark.parametrize(
    "text", ["blog.example.org", "ftp://blog.example.org", "//blog.example.org", "https://", "https://a b"]
)
def test_public_url_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises(BadSetting, match=r"^BROADSHEET_PUBLIC_URL must be a URL such as"):
        from_env(PUBLIC_URL=text)


@pytest.mark.parametrize("text", ["proxy", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/8,*"])
def test_proxy_that_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(BadSetting, match=r"^BROADSHEET_TRUSTED_PROXIES must be addresses or networks"):
        from_env(TRUSTED_PROXIES=text)


@pytest.mark.parametrize("name", ["SECRET", "JWT_SECRET"])
@pytest.mark.parametrize(
    "text",
    [
        "5f0c1e9a7b3d4826",
        "a" * 64,
        "abcdefg" * 10,
        "changeme-5f0c1e9a7b3d4826f1a0c9e8d7b6",
        "5f0c1e9a7b3d4826-EXAMPLE-f1a0c9e8d7b6",
        "super-secret-jwt-token-with-at-least-32-characters-long",
        "0123456789abcdef0123456789abcdef",
    ],
)
def test_secret_that_can_be_guessed_is_refused_and_not_repeated(name: str, text: str) -> None:
    with pytest.raises(BadSetting, match=f"^BROADSHEET_{name} .*openssl rand -hex 32") as refused:
        from_env(**{name: text})
    assert text not in str(refused.value)


# ---- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TEXTS)
def test_text_may_stand_in_a_file(name: str, tmp_path: Path) -> None:
    file = tmp_path / "value"
    file.write_text(f"{SECRET}\n")
    settings = Settings.from_env({f"{name}_FILE": str(file)})
    assert settings == Settings.from_env({name: SECRET})
    assert settings != Settings()


@pytest.mark.parametrize("name", TEXTS)
def test_text_and_file_together_are_refused(name: str, tmp_path: Path) -> None:
    file = tmp_path / "value"
    file.write_text(SECRET)
    with pytest.raises(BadSetting, match=f"^give {name} or {name}_FILE, not both$"):
        Settings.from_env({name: SECRET, f"{name}_FILE": str(file)})


@pytest.mark.parametrize("name", TEXTS)
def test_file_that_cannot_be_read_is_refused(name: str, tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    for path in (tmp_path / "none", tmp_path, binary):
        with pytest.raises(BadSetting, match=f"^{name}_FILE cannot be read: "):
            Settings.from_env({f"{name}_FILE": str(path)})


def test_secret_in_a_file_is_no_weaker(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("short\n")
    with pytest.raises(BadSetting, match=r"^BROADSHEET_SECRET must have 32 random bytes"):
        Settings.from_env({"BROADSHEET_SECRET_FILE": str(file)})


# ---- what follows ---------------------------------------------------------------------------------------------------


def test_secrets_are_not_shown() -> None:
    settings = from_env(
        SECRET=SECRET,
        JWT_SECRET=SECRET[::-1],
        DATABASE_URL="postgresql://ada:hunter2@db/blog",
        MIGRATE_URL="postgresql://owner:hunter3@db/blog",
    )
    for shown in (repr(settings), str(settings), f"{settings}"):
        for secret in (SECRET, SECRET[::-1], "hunter2", "hunter3"):
            assert secret not in shown


def test_limits_and_rates_are_above_zero_unless_somebody_says_otherwise() -> None:
    for limits in (Limits(aggregates=True), RateLimits()):
        assert all(value > 0 for value in dataclasses.asdict(limits).values())


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.2", False),
        ("blog.example.org", False),
    ],
)
def test_loopback(host: str, local: bool) -> None:
    assert is_loopback(host) is local
    assert Settings(host=host).is_local is local
    assert not Settings(host=host, production=True).is_local
    assert not Settings(host=host, trusted_proxies=("127.0.0.1",)).is_local
    assert not Settings(host=host, public_url="https://blog.example.org").is_local
    assert Settings(host=host, public_url="http://localhost:3000").is_local is local


@pytest.mark.parametrize("text", ["*", "blog.example.org:8000", "https://blog.example.org", "a b", "*.", "a.*.b"])
def test_name_of_a_host_that_could_never_match_is_refused(text: str) -> None:
    with pytest.raises(BadSetting, match=r"^BROADSHEET_ALLOWED_HOSTS must be names"):
        from_env(ALLOWED_HOSTS=text)


@pytest.mark.parametrize(
    ("settings", "is_open"),
    [
        (Settings(), True),
        (Settings(production=True), False),
        (Settings(host="0.0.0.0"), False),
        (Settings(accounts=AccountSettings(sign_up="closed")), False),
        (Settings(host="0.0.0.0", production=True, accounts=AccountSettings(sign_up="open")), True),
    ],
)
def test_sign_up_is_open_at_home_alone_unless_said(settings: Settings, is_open: bool) -> None:
    assert settings.sign_up_open is is_open


@pytest.mark.parametrize(
    ("settings", "mailer"),
    [
        (Settings(), "console"),
        (Settings(production=True), "none"),
        (Settings(host="0.0.0.0"), "none"),
        (Settings(accounts=AccountSettings(mailer="none")), "none"),
        (Settings(production=True, accounts=AccountSettings(mailer="console")), "console"),
    ],
)
def test_mail_is_printed_at_home_alone_unless_said(settings: Settings, mailer: str) -> None:
    assert settings.mailer == mailer


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        (Settings(), 0),
        (Settings(production=True), 5),
        (Settings(trusted_proxies=("127.0.0.1",)), 5),
        (Settings(host="0.0.0.0", drain_seconds=0), 0),
        (Settings(drain_seconds=7), 7),
    ],
)
def test_server_leaves_time_to_turn_away_but_at_home_unless_said(settings: Settings, seconds: int) -> None:
    assert settings.drain == seconds


@pytest.mark.parametrize(
    ("settings", "site"),
    [
        (Settings(), "http://127.0.0.1:8000"),
        (Settings(host="::1", port=81), "http://[::1]:81"),
        (Settings(public_url="https://blog.example.org/"), "https://blog.example.org"),
    ],
)
def test_site_is_the_public_url_or_the_address(settings: Settings, site: str) -> None:
    assert settings.site == site


def test_database_is_a_file_in_the_data_directory_unless_named() -> None:
    assert Settings(data_dir=Path("/srv/my data")).url == "sqlite+aiosqlite:////srv/my%20data/broadsheet.db"
    assert Settings(database_url="postgresql://db/blog").url == "postgresql://db/blog"
