"""The statements of the bounds, written by hand for PostgreSQL. Refuses query strings that it cannot read with
ValueError.

A transfer locks both users in the order of their ids, and the debit has its guard in its own WHERE, where it is asked
again of a row that changed meanwhile: a guard read beside it would let money be made.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

PUBLIC = "p.status = 'published' AND p.published_at <= now() AND p.deleted_at IS NULL"

ROWS = """
SELECT p.id, p.title, p.content, p.status, p.created_at, p.updated_at, u.id, u.username, u.full_name
FROM posts p JOIN users u ON u.id = p.user_id"""

ONE = f" WHERE p.id = $1 AND {PUBLIC}"

TAGS = """
SELECT l.post_id, t.id, t.name FROM post_tags l JOIN tags t ON t.id = l.tag_id
WHERE l.post_id = ANY($1::bigint[]) ORDER BY t.id"""

AUTHOR = "SELECT id, username, full_name FROM users WHERE id = $1"
NAMES = "SELECT id, name FROM tags WHERE id = ANY($1::bigint[]) ORDER BY id"

INSERT = """
WITH post AS (
    INSERT INTO posts (user_id, title, slug, content, status, published_at, created_at, updated_at, version)
    VALUES ($1, $2, $3, $4, 'published', $5, $5, $5, 1) RETURNING id
), links AS (
    INSERT INTO post_tags (post_id, tag_id) SELECT post.id, tag_id FROM post, unnest($6::bigint[]) AS tag_id
)
SELECT id FROM post"""

TRANSFER = """
WITH parties AS MATERIALIZED (
    SELECT id FROM users WHERE id IN ($1, $2) AND is_active AND deleted_at IS NULL ORDER BY id FOR UPDATE
), debit AS (
    UPDATE users SET balance = balance - $3
    WHERE id = $1 AND balance >= $3 AND (SELECT count(*) FROM parties) = 2 RETURNING id
), credit AS (
    UPDATE users SET balance = balance + $3 WHERE id = $2 AND (SELECT count(*) FROM debit) = 1 RETURNING id
), transfer AS (
    INSERT INTO transfers (from_user_id, to_user_id, amount, created_at)
    SELECT $1, id, $3, $4 FROM credit RETURNING id
)
SELECT (SELECT count(*) FROM parties) AS users, (SELECT id FROM transfer) AS id"""


def feed(query: Mapping[str, str]) -> tuple[str, list[Any]]:
    """WHERE, ORDER BY and LIMIT of a list, and their arguments."""
    arguments: list[Any] = []

    def place(value: Any) -> str:
        arguments.append(value)
        return f"${len(arguments)}"

    where, order = PUBLIC, "p.published_at DESC, p.id DESC"
    if "before_id" in query:
        where, order = f"{where} AND p.id < {place(int(query['before_id']))}", "p.id DESC"
    if "author" in query:
        where += f" AND p.user_id = {place(int(query['author']))}"
    if "tag" in query:
        tagged = "SELECT 1 FROM post_tags l JOIN tags t ON t.id = l.tag_id"
        where += f" AND EXISTS ({tagged} WHERE l.post_id = p.id AND t.name = {place(query['tag'])})"
    limit, offset = number(query, "limit", 20, 1), number(query, "offset", 0, 0)
    return f" WHERE {where} ORDER BY {order} LIMIT {place(limit)} OFFSET {place(offset)}", arguments


def number(query: Mapping[str, str], name: str, otherwise: int, least: int) -> int:
    value = int(query.get(name, otherwise))
    if value < least:
        raise ValueError(f"{name} must be at least {least}")
    return value


def slug(title: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    return f"{words[:180]}-{secrets.token_hex(6)}"


def now() -> datetime:
    return datetime.now(UTC)
