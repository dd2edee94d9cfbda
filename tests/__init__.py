"""The test suite: runs on SQLite and on PostgreSQL."""
