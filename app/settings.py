"""Settings from BROADSHEET_* variables, read once. No other module reads the environment.

The limits are those of `docs/query.md`; each has one default for every role unless it says otherwise.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlsplit

from app.errors import BadSetting

N = TypeVar("N", int, None)

MIB = 1024 * 1024
SHORTEST_SECRET = 32  # bytes
DRAIN = 5  # seconds: a balancer that asks every 2 s and turns away after the second refusal has noticed
EXAMPLES = ("changeme", "change-me", "secret", "example", "super-secret-jwt-token", "your-", "password", "0123456789")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for. Sizes are bytes, times seconds."""

    url: int = 16 * 1024
    body: int = MIB
    body_rows: int = 1000
    affected: int = 1000
    json_depth: int = 32
    json_digits: int = 40
    embed_depth: int = 4
    embeds: int = 12
    embed_tests: int = 300
    select_items: int = 100
    filters: int = 50
    logic_nodes: int = 100
    logic_depth: int = 8
    list_items: int = 1000
    any_items: int = 100
    pattern: int = 256
    order_terms: int = 8
    name: int = 63
    offset: int = 100_000
    page: int = 1000
    page_service: int = 10_000
    page_plain: int = 20
    answer_rows: int = 50_000
    answer_bytes: int = 16 * MIB
    statement_anonymous: float = 3.0
    statement_user: float = 8.0
    statement_service: float = 30.0
    shapes: int = 2000
    new_shapes: int = 600
    batch_requests: int = 50
    batch_answer: int = 16 * MIB
    aggregates: bool = False


@dataclass(frozen=True, slots=True)
class RateLimits:
    """How often, as `docs/security.md` lists them. 0 means without a limit. Addresses count by IPv6 /64."""

    anonymous: int = 600  # requests a minute of one address without a token
    signed_in: int = 1200  # the same of one user or key at one address
    sign_in_account: int = 5  # wrong passwords for one account from one address in a minute
    sign_in_account_hour: int = 30  # the same in an hour
    sign_in_everywhere: int = 100  # wrong passwords for one account from all addresses in an hour
    sign_in_address: int = 60  # wrong passwords of one address in 5 minutes
    token: int = 150  # sign-ins and refreshes of one address in 5 minutes
    sign_up: int = 30  # new accounts, recoveries, one-time passwords and changes of one address in 5 minutes
    mail_account: int = 4  # mails to one address in an hour
    verify: int = 30  # one-time tokens tried by one address in 5 minutes
    anonymous_sign_in: int = 30  # anonymous accounts of one address in an hour


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """How accounts come and go. Times are seconds."""

    sign_up: str = ""  # `open` or `closed`; empty: open on a loopback address alone
    sign_up_role: str = "member"
    anonymous: bool = False
    mailer: str = ""  # `none` or `console`; empty: console in development alone
    confirm_email: bool = False
    redirects: tuple[str, ...] = ()
    access_seconds: int = 3600
    refresh_days: int = 30
    reuse_seconds: int = 10
    password_bytes: int = 8
    rates: RateLimits = field(default_factory=RateLimits)


@dataclass(frozen=True, slots=True)
class Settings:
    host: str = "127.0.0.1"
    port: int = 8000
    public_url: str = ""
    production: bool = False
    data_dir: Path = Path("data")
    database_url: str = field(default="", repr=False)  # these two hold passwords
    migrate_url: str = field(default="", repr=False)
    pool_size: int = 16
    pooler: str = ""
    require_key: bool = False
    origins: tuple[str, ...] = ()
    allow_rollback: bool = False
    require_if_match: bool = False
    require_idempotency_key: bool = False
    idempotency_hours: int = 24
    server_timing: bool = False
    log_level: str = "info"
    allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    rate_store: str = "memory"
    drain_seconds: int | None = None
    secret: str = field(default="", repr=False)
    jwt_secret: str = field(default="", repr=False)
    limits: Limits = field(default_factory=Limits)
    accounts: AccountSettings = field(default_factory=AccountSettings)

    @property
    def url(self) -> str:
        """The database: BROADSHEET_DATABASE_URL, else a SQLite file in the data directory."""
        return self.database_url or f"sqlite+aiosqlite:///{quote(str(self.data_dir / 'broadsheet.db'))}"

    @property
    def site(self) -> str:
        """Where clients reach the service: BROADSHEET_PUBLIC_URL, else the address that it listens on."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url.rstrip("/") or f"http://{host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether nobody but this machine is meant to come: a loopback address, no proxy before it, no public URL
        elsewhere, and not in production.
        """
        site = urlsplit(self.public_url).hostname
        elsewhere = self.production or bool(self.trusted_proxies) or (site is not None and not is_loopback(site))
        return is_loopback(self.host) and not elsewhere

    @property
    def drain(self) -> int:
        """Seconds in which a server that was told to stop still takes requests, so that balancers turn away from it."""
        if self.drain_seconds is None:
            return 0 if self.is_local else DRAIN
        return self.drain_seconds

    @property
    def sign_up_open(self) -> bool:
        return self.accounts.sign_up == "open" or (not self.accounts.sign_up and self.is_local)

    @property
    def mailer(self) -> str:
        return self.accounts.mailer or ("console" if self.is_local else "none")

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Settings:
        """Raises BadSetting with one clear line for a value that cannot be read."""
        default = cls()
        return cls(
            host=env.get("BROADSHEET_HOST", "").strip() or default.host,
            port=_number(env, "BROADSHEET_PORT", default.port, 65535),
            public_url=_url(env, "BROADSHEET_PUBLIC_URL"),
            production=_switch(env, "BROADSHEET_PRODUCTION"),
            data_dir=Path(env.get("BROADSHEET_DATA_DIR") or default.data_dir),
            database_url=_text(env, "BROADSHEET_DATABASE_URL"),
            migrate_url=_text(env, "BROADSHEET_MIGRATE_URL"),
            pool_size=_number(env, "BROADSHEET_POOL_SIZE", default.pool_size, 1000),
            pooler=_choice(env, "BROADSHEET_POOLER", ("", "transaction")),
            require_key=_switch(env, "BROADSHEET_REQUIRE_KEY"),
            origins=_list(env, "BROADSHEET_CORS_ORIGINS"),
            allow_rollback=_switch(env, "BROADSHEET_TX_ROLLBACK"),
            require_if_match=_switch(env, "BROADSHEET_REQUIRE_IF_MATCH"),
            require_idempotency_key=_switch(env, "BROADSHEET_REQUIRE_IDEMPOTENCY_KEY"),
            idempotency_hours=_number(env, "BROADSHEET_IDEMPOTENCY_HOURS", default.idempotency_hours, 8760),
            server_timing=_switch(env, "BROADSHEET_SERVER_TIMING"),
            log_level=_choice(env, "BROADSHEET_LOG_LEVEL", ("info", "debug", "warning", "error")),
            allowed_hosts=_hosts(env, "BROADSHEET_ALLOWED_HOSTS"),
            trusted_proxies=_networks(env, "BROADSHEET_TRUSTED_PROXIES"),
            rate_store=_choice(env, "BROADSHEET_RATE_STORE", ("memory", "database")),
            drain_seconds=_number(env, "BROADSHEET_DRAIN_SECONDS", None, 300, least=0),
            secret=_secret(env, "BROADSHEET_SECRET"),
            jwt_secret=_secret(env, "BROADSHEET_JWT_SECRET"),
            limits=Limits(aggregates=_switch(env, "BROADSHEET_AGGREGATES")),
            accounts=_accounts(env),
        )


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _accounts(env: Mapping[str, str]) -> AccountSettings:
    default, rates = AccountSettings(), RateLimits()
    return AccountSettings(
        sign_up=_choice(env, "BROADSHEET_SIGNUP", ("", "open", "closed")),
        sign_up_role=_choice(env, "BROADSHEET_SIGNUP_ROLE", ("member", "author")),
        anonymous=_switch(env, "BROADSHEET_ANONYMOUS_SIGNIN"),
        mailer=_choice(env, "BROADSHEET_MAILER", ("", "none", "console")),
        confirm_email=_switch(env, "BROADSHEET_CONFIRM_EMAIL"),
        redirects=_list(env, "BROADSHEET_REDIRECT_URLS"),
        access_seconds=_number(env, "BROADSHEET_ACCESS_SECONDS", default.access_seconds, 86_400, least=120),
        refresh_days=_number(env, "BROADSHEET_REFRESH_DAYS", default.refresh_days, 3650),
        reuse_seconds=_number(env, "BROADSHEET_REUSE_SECONDS", default.reuse_seconds, 300, least=0),
        password_bytes=_number(env, "BROADSHEET_PASSWORD_BYTES", default.password_bytes, 64, least=6),
        rates=RateLimits(
            anonymous=_number(env, "BROADSHEET_RATE_ANONYMOUS", rates.anonymous, MIB, least=0),
            signed_in=_number(env, "BROADSHEET_RATE_SIGNED_IN", rates.signed_in, MIB, least=0),
            token=_number(env, "BROADSHEET_RATE_TOKEN", rates.token, MIB, least=0),
            sign_up=_number(env, "BROADSHEET_RATE_SIGNUP", rates.sign_up, MIB, least=0),
            anonymous_sign_in=_number(env, "BROADSHEET_RATE_ANONYMOUS_SIGNIN", rates.anonymous_sign_in, MIB, least=0),
        ),
    )


def _number(env: Mapping[str, str], name: str, default: N, most: int, *, least: int = 1) -> int | N:
    text = env.get(name, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 20 or not least <= int(text) <= most:
        raise BadSetting(f"{name} must be a number from {least} to {most}, not {text!r}")
    return int(text)


def _text(env: Mapping[str, str], name: str) -> str:
    """The variable, or the content of the file that the variable `{name}_FILE` names. Raises BadSetting."""
    path = env.get(f"{name}_FILE", "").strip()
    if not path:
        return env.get(name, "").strip()
    if env.get(name, "").strip():
        raise BadSetting(f"give {name} or {name}_FILE, not both")
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise BadSetting(f"{name}_FILE cannot be read: {exc}") from None


def _secret(env: Mapping[str, str], name: str) -> str:
    """Raises BadSetting for one that can be guessed. The message does not repeat it."""
    text = _text(env, name)
    if not text:
        return ""
    if len(text.encode()) < SHORTEST_SECRET or len(set(text)) < SHORTEST_SECRET // 4:
        raise BadSetting(f"{name} must have {SHORTEST_SECRET} random bytes or more: try `openssl rand -hex 32`")
    if any(known in text.lower() for known in EXAMPLES):
        raise BadSetting(f"{name} is one that stands in examples: try `openssl rand -hex 32`")
    return text


def _networks(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    found = _list(env, name)
    for part in found:
        try:
            ipaddress.ip_network(part)
        except ValueError:
            raise BadSetting(f"{name} must be addresses or networks such as 10.0.0.0/8, not {part!r}") from None
    return found


def _hosts(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    found = _list(env, name)
    for part in found:
        if not re.fullmatch(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\]", part):
            raise BadSetting(f"{name} must be names such as blog.example.org or *.example.org, not {part!r}")
    return found


def _url(env: Mapping[str, str], name: str) -> str:
    text = env.get(name, "").strip()
    if text and not re.fullmatch(r"https?://[^/?#\s]+(/[^?#\s]*)?", text):
        raise BadSetting(f"{name} must be a URL such as https://blog.example.org, not {text!r}")
    return text


def _switch(env: Mapping[str, str], name: str) -> bool:
    text = env.get(name, "").strip().lower()
    if text not in ("", "0", "1", "true", "false", "yes", "no", "on", "off"):
        raise BadSetting(f"{name} must be 1 or 0, not {text!r}")
    return text in ("1", "true", "yes", "on")


def _list(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in env.get(name, "").split(","))))


def _choice(env: Mapping[str, str], name: str, among: tuple[str, ...]) -> str:
    text = env.get(name, "").strip().lower() or among[0]
    if text not in among:
        raise BadSetting(f"{name} must be one of {', '.join(filter(None, among))}, not {text!r}")
    return text
