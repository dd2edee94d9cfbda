"""Accounts: passwords, keys, and who a request comes from."""
