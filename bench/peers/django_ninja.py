"""Django with django-ninja on ASGI, after Django's "How to deploy with ASGI" and psycopg's connection pool."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.peers.django_site.settings")
app = get_asgi_application()
