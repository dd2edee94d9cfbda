"""Conformance of the REST dialect: requests and the answers they must get, as data, on both databases.

`cases/*.toml` follow the sections of the dialect; `blog.toml` holds the rows that they ask for.
"""
