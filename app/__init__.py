"""Broadsheet: a publishing backend in one Python process. `docs/architecture.md` maps the packages."""

__version__ = "0.1.0"
