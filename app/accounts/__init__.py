"""Accounts: passwords, keys, and who a request comes from."""

FRESH = 5.0  # seconds for which a running service may remember what the database or a file says of its callers
