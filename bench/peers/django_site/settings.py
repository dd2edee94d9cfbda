"""Settings after Django's "Databases" (connection pool; SQLite: `transaction_mode`, `init_command`) and "Password
management" (Argon2). No sessions, no cookies and no admin, so no middleware.
"""

from __future__ import annotations

from sqlalchemy import make_url

from bench.peers.environment import POOL, PRAGMAS, SECRET, SQLITE, URL

_url = make_url(URL)
_sqlite = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": _url.database,
    "OPTIONS": {
        "transaction_mode": "IMMEDIATE",
        "init_command": "; ".join(f"PRAGMA {name}={value}" for name, value in PRAGMAS.items()),
    },
}
_postgresql = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": _url.database,
    "USER": _url.username,
    "PASSWORD": _url.password or "",
    "HOST": _url.query.get("host", _url.host),
    "PORT": _url.port or "",
    "OPTIONS": {"pool": {"min_size": POOL, "max_size": POOL}},
}

SECRET_KEY = SECRET
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "bench.peers.django_site.urls"
INSTALLED_APPS = ["bench.peers.django_site"]
DATABASES = {"default": _sqlite if SQLITE else _postgresql}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
USE_TZ = True
USE_I18N = False
TIME_ZONE = "UTC"
