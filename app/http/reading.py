"""GET of a collection and of one row."""

from __future__ import annotations

from starlette.responses import Response

from app.http.context import Call
from app.http.plans import item_plan, key_of, page_plan, take_version
from app.http.request import check_accept
from app.http.response import content_range, etag_of, tagged
from app.query.encoder import encode
from app.query.plan import ReadPlan
from app.query.reader import read, read_keyed
from app.query.writer import missing_row


async def read_page(call: Call) -> Response:
    check_accept(call.headers)
    plan = page_plan(call)
    call.trace.mark("plan")
    service, now = call.service, call.service.database.clock()
    rows = await service.database.read(
        call.who, lambda: call.trace.counted(read(service.compiler, plan, call.who, now))
    )
    call.trace.mark("database")
    body = encode(rows)
    headers = {"Content-Range": content_range(_offset(plan), len(rows))}
    response = tagged(call, body, etag_of(body), headers)
    call.trace.mark("encode")
    return response


async def read_item(call: Call) -> Response:
    check_accept(call.headers)
    plan = item_plan(call)
    key = key_of(plan.resource, call.request.path_params["id"])
    call.trace.mark("plan")
    service, now = call.service, call.service.database.clock()
    rows = await service.database.read(
        call.who, lambda: call.trace.counted(read_keyed(service.compiler, plan, call.who, now, [key]))
    )
    call.trace.mark("database")
    if not rows:
        raise missing_row(plan.resource, key)
    version = take_version(plan, rows[0])
    body = encode(rows[0])
    response = tagged(call, body, etag_of(body, version))
    call.trace.mark("encode")
    return response


def _offset(plan: ReadPlan) -> int:
    offset: int = plan.values[plan.node.offset] if plan.node.offset >= 0 else 0
    return offset
