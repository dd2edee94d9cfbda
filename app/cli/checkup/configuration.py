"""Checks of the settings alone: who may come, over what, and what they may do there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from app.cli.checkup.finding import Finding, fine, grave, refusal, warning
from app.data import engines
from app.settings import Settings, is_loopback

SHORTEST_ACCESS = 600  # seconds; clients ask for the next token 90 s before the end of one


def bind(settings: Settings) -> Finding:
    if is_loopback(settings.host):
        return fine("bind", f"listens on {settings.host}, which this machine alone reaches")
    if _has_tls(settings) or settings.trusted_proxies:
        return fine("bind", f"listens on {settings.host}, behind a proxy")
    advice = "put a proxy with TLS in front and set BROADSHEET_PUBLIC_URL=https://... and BROADSHEET_TRUSTED_PROXIES"
    return refusal("bind", f"listens on {settings.host} without TLS", f"{advice}, or set BROADSHEET_HOST=127.0.0.1")


def proxies(settings: Settings) -> Finding:
    if settings.trusted_proxies or not _has_tls(settings):
        return fine("proxies", f"trusted: {', '.join(settings.trusted_proxies) or 'none'}")
    found = "the public URL is https, so a proxy is in front, but none is trusted: all callers have its address"
    return warning("proxies", found, "set BROADSHEET_TRUSTED_PROXIES to the proxy's address")


def public_url(settings: Settings) -> Finding:
    if settings.is_local or _has_tls(settings):
        return fine("public-url", f"clients come to {settings.site}")
    advice = "set BROADSHEET_PUBLIC_URL=https://..."
    if settings.public_url:
        return warning("public-url", f"clients come to {settings.site}, without TLS", advice)
    return warning("public-url", f"not set, so links lead to {settings.site}", advice)


def hosts(settings: Settings) -> Finding:
    if settings.allowed_hosts:
        return fine("hosts", f"answers to {', '.join(settings.allowed_hosts)}")
    if settings.is_local:
        return fine("hosts", "answers to every name, on this machine")
    return warning("hosts", "answers to every name", "set BROADSHEET_ALLOWED_HOSTS to the names of this service")


def sign_up(settings: Settings) -> Finding:
    if not settings.sign_up_open:
        return fine("sign-up", "closed: accounts are made with the secret key or by an admin")
    found = f"open: anybody may become {settings.accounts.sign_up_role}"
    if settings.is_local:
        return fine("sign-up", found)
    return warning("sign-up", found, "set BROADSHEET_SIGNUP=closed unless that is meant")


def mailer(settings: Settings) -> Finding:
    if settings.mailer != "console" or settings.is_local:
        return fine("mailer", settings.mailer)
    found = "console: links that sign their reader in stand in the log"
    return grave(settings, "mailer", found, "set BROADSHEET_MAILER=none")


def confirmation(settings: Settings) -> Finding:
    if not settings.accounts.confirm_email:
        return fine("confirmation", "addresses need not be confirmed")
    if settings.mailer != "none":
        return fine("confirmation", "addresses are confirmed by mail")
    found = "addresses must be confirmed, but no mail is sent: nobody could sign in"
    return refusal("confirmation", found, "set BROADSHEET_MAILER, or BROADSHEET_CONFIRM_EMAIL=0")


def anonymous(settings: Settings) -> Finding:
    if not settings.accounts.anonymous:
        return fine("anonymous", "nobody signs in without a name")
    if settings.accounts.rates.anonymous_sign_in:
        return fine("anonymous", f"{settings.accounts.rates.anonymous_sign_in} accounts an hour from one address")
    return warning("anonymous", "accounts without a name, without a limit", "limit them by address")


def origins(settings: Settings) -> Finding:
    if settings.origins:
        return fine("origins", f"pages of {', '.join(settings.origins)} read answers")
    if not settings.production:
        return fine("origins", "pages of every origin read answers, without cookies")
    advice = "set BROADSHEET_CORS_ORIGINS to those of your pages"
    return warning("origins", "pages of every origin read answers, without cookies", advice)


def access(settings: Settings) -> Finding:
    seconds = settings.accounts.access_seconds
    if seconds >= SHORTEST_ACCESS:
        return fine("access", f"access tokens live {seconds} s")
    found = f"access tokens live {seconds} s, and clients ask for the next one 90 s before the end"
    return warning("access", found, f"set BROADSHEET_ACCESS_SECONDS to {SHORTEST_ACCESS} or more")


def rates(settings: Settings) -> Finding:
    limits = dataclasses.asdict(settings.accounts.rates)
    off = [name for name, amount in limits.items() if not amount]
    if not off:
        return fine("rates", f"all {len(limits)} limits are on")
    found = f"without a limit: {', '.join(off)}"
    if not settings.production:
        return fine("rates", found)
    return warning("rates", found, "give BROADSHEET_RATE_* a number above 0")


def rate_store(settings: Settings) -> Finding:
    on_server = engines.parse(settings.url).get_backend_name() == "postgresql"
    if settings.rate_store == "memory" and on_server:
        advice = "set BROADSHEET_RATE_STORE=database where several serve this database"
        return fine("rate-store", "memory, which is right for one process", advice)
    return fine("rate-store", settings.rate_store)


CHECKS: tuple[Callable[[Settings], Finding], ...] = (
    bind,
    proxies,
    public_url,
    hosts,
    sign_up,
    mailer,
    confirmation,
    anonymous,
    origins,
    access,
    rates,
    rate_store,
)


def _has_tls(settings: Settings) -> bool:
    return settings.public_url.startswith("https://")
