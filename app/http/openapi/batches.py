"""POST /batch: several requests in one transaction."""

from __future__ import annotations

from app.http.batch import METHODS
from app.http.openapi.answers import CONDITION, EVERY, JSON, keyed, refused, success
from app.http.openapi.audience import Audience
from app.http.openapi.columns import Schema
from app.http.openapi.parameters import reference as parameter
from app.http.openapi.schemas import reference

STATUSES = (*EVERY, 300, 403, 405, 409, *CONDITION, 413, 415, 416, 422, 507)  # those of the requests in it
NAMES = {"type": "object", "additionalProperties": {"type": "string"}}


def batch_schemas(audience: Audience) -> dict[str, Schema]:
    single: Schema = {
        "type": "object",
        "required": ["path"],
        "properties": {
            "path": {"type": "string", "pattern": "^/", "description": "Below this surface, with its query string."},
            "method": {"type": "string", "enum": list(METHODS), "default": "GET"},
            "headers": NAMES,
            "body": {"description": "JSON as it is; another media type as a text."},
        },
        "additionalProperties": False,
    }
    answer: Schema = {
        "type": "object",
        "required": ["status", "headers", "body"],
        "properties": {"status": {"type": "integer"}, "headers": NAMES, "body": {}},
    }
    many = {"type": "array", "maxItems": audience.limits.batch_requests, "items": reference("Batch.request")}
    return {"Batch": many, "Batch.request": single, "Batch.answer": answer}


def batch_path(audience: Audience) -> Schema:
    requests = reference("Batch")
    wrapped = {"type": "object", "required": ["requests"], "properties": {"requests": requests}}
    body = {"anyOf": [requests, {**wrapped, "additionalProperties": False}]}
    answers = {"type": "array", "items": reference("Batch.answer")}
    post = {
        "tags": ["service"],
        "operationId": "run_batch",
        "summary": "Several requests in one transaction",
        "description": "All or nothing: the first refusal is the answer, and `message` begins with its place.",
        "parameters": [parameter("preferRead"), parameter("idempotencyKey")],
        "requestBody": {"required": True, "content": {JSON: {"schema": body}}},
        "responses": {**success(200, {JSON: answers}, "Preference-Applied"), **refused(audience, *STATUSES), **keyed()},
    }
    return {"post": post}
