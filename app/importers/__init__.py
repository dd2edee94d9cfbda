"""Importers: each reader turns one kind of source into the record stream of `records.py`; the bulk loader writes it."""
