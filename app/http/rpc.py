"""`/rpc/{function}`: functions by name, GET for those that only read, POST for all. Source: dialect 1.19.

GET  /rpc/search?q=event loop&select=title&limit=5        a value that is no filter is an argument
POST /rpc/search?select=title&limit=5   {"q": "event loop"}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from app.data.scopes import require_function, unscoped
from app.data.session import AppSession
from app.errors import BadBody, BadQuery, BadValue, BroadsheetError
from app.http.body import JSON, content_type, payload_of, read_body
from app.http.calling import Asked, call_all
from app.http.chosen import Chosen, chosen_plan, read_chosen
from app.http.context import Call
from app.http.grouping import Order, may_join, served
from app.http.idempotency import require_key, respond
from app.http.media import Media, media_of, render
from app.http.preferences import Prefer, prefer_of
from app.http.ranges import content_range, narrowed, status_of, window_of
from app.http.response import allowed, answer, error, etag_of, tagged
from app.http.routes import Endpoint, Handler
from app.http.surfaces import Surface
from app.query.encoder import encode
from app.query.filters import OPERATION
from app.query.functions import Action, Actions, Returns, action_of, from_body, from_texts
from app.query.jsontext import decode
from app.query.lexing import pairs
from app.query.operators import OPERATORS, REFUSED
from app.query.parser import parse, split_name
from app.query.planner import find
from app.query.reader import Result
from app.query.syntax import ALL, Query

VERBS = ("PUT", "PATCH", "DELETE")
SHAPING = frozenset(["select", "order", "limit", "offset", "and", "or", "columns", "on_conflict"])


def rpc_routes(actions: Actions, surface: Surface) -> list[Route]:
    """These come before the routes of resources."""
    served = Functions(actions)
    handlers: dict[str, Handler] = {
        "OPTIONS": served.show_methods,
        "GET": served.ask,
        "HEAD": served.ask,
        "POST": served.call,
    }
    endpoint = Endpoint(surface, handlers | dict.fromkeys(VERBS, served.refuse))
    return [Route(f"{surface.prefix}/rpc/{{function}}", endpoint, name=f"{surface.name}_function")]


@dataclass(frozen=True, slots=True)
class Answered:
    """What a call answers, made while its unit of work is open."""

    body: bytes
    status: int
    range: str


@dataclass(frozen=True, slots=True)
class Wish:
    """How the caller wants a result. `chosen` is there for functions that return rows or a row."""

    media: Media
    prefer: Prefer
    chosen: Chosen | None


class Functions:
    """The handlers of one list of functions."""

    def __init__(self, actions: Actions) -> None:
        self.actions = actions

    async def ask(self, call: Call) -> Response:
        """GET and HEAD."""
        given, shape = _split(call, self.actions.get(_name(call)))
        query = parse(shape, call.limits)
        if call.method == "GET" and (window := window_of(call.headers)) is not None:
            query = narrowed(query, window)
        name = _name(call)
        action = action_of(self.actions, name, list(given), json=False)
        if not action.reads:
            message = f"cannot execute {name} in a read-only transaction"
            raise BroadsheetError(message, code="25006", status=405, hint="Send POST.")
        try:
            return await _run(call, action, from_texts(action, given, call.limits), query)
        except BadValue as exc:  # in a query string it is a 400 on every surface
            raise BadQuery(exc.message, code=exc.code, details=exc.details, hint=exc.hint) from None

    async def call(self, call: Call) -> Response:
        """POST."""
        query = parse(call.request.scope["query_string"], call.limits)
        given, texts = await _body(call)
        action = action_of(self.actions, _name(call), list(given), json=True)
        if texts:
            arguments = from_texts(action, {name: [text] for name, text in given.items()}, call.limits)
        else:
            arguments = from_body(action, given, call.limits)
        return await _run(call, action, arguments, query)

    async def show_methods(self, call: Call) -> Response:
        action = self.actions.get(_name(call)) or action_of(self.actions, _name(call), [], json=False)
        headers = {"Allow": allowed(_methods(action))}
        if "origin" not in call.headers:
            headers["Access-Control-Allow-Origin"] = "*"
        return answer(call, b"", headers=headers)

    async def refuse(self, call: Call) -> Response:
        refusal = BroadsheetError(f"Cannot use the {call.method} method on RPC", code="PGRST101", status=405)
        if call.unit is not None:  # only what is raised ends a batch
            raise refusal
        return error(refusal, 405, {"Allow": allowed(_methods(self.actions.get(_name(call))))})


def _methods(action: Action | None) -> tuple[str, ...]:
    return ("OPTIONS", "GET", "HEAD", "POST") if action is None or action.reads else ("OPTIONS", "POST")


def _name(call: Call) -> str:
    found: str = call.request.path_params["function"]
    return found


# ---- what is asked --------------------------------------------------------------------------------------------------


def _split(call: Call, action: Action | None) -> tuple[dict[str, list[str]], bytes]:
    """The arguments of a query string by name, and what is left of it: filters, and the shape of the result. A function
    that returns no rows may have arguments whose names would shape rows.
    """
    own = frozenset() if action is None or action.model is not None else action.parameters.keys()
    given: dict[str, list[str]] = {}
    shape: list[bytes] = []
    for part in call.request.scope["query_string"].split(b"&"):
        for name, value in pairs(part):
            path, last, quoted = split_name(name, call.limits)
            if path or (last in SHAPING - own and not quoted) or _is_filter(value):
                shape.append(part)
            else:
                given.setdefault(last, []).append(value)
    return given, b"&".join(shape)


def _is_filter(value: str) -> bool:
    found = OPERATION.match(value)
    return found is not None and found[2] in OPERATORS.keys() | REFUSED


async def _body(call: Call) -> tuple[Mapping[str, Any], bool]:
    """The arguments of a body, the first object of a list; whether they are texts. Raises BadBody."""
    if content_type(call.headers) != JSON:
        payload = await payload_of(call)
        return (payload.rows[0] if payload.rows else {}), True
    body = await read_body(call.request, call.limits.body)
    value = decode(body, call.limits) if body.strip() else {}
    if isinstance(value, list):
        value = value[0] if value else {}
    if not isinstance(value, dict):
        raise BadBody("Empty or invalid json", hint="Send an object with the arguments by name.")
    return value, False


def _wish(call: Call, action: Action, query: Query) -> Wish:
    """Raises BadQuery for what cannot shape this result, PGRST107, PGRST122."""
    chosen = None
    if action.model is not None:
        resource = find(call.service.catalog, call.service.catalog.of(action.model).name, call.who.view)
        chosen = chosen_plan(call, resource, query)
    elif query.select != ALL or query.conditions or query.orders or query.limits or query.offsets:
        raise BadQuery("this function returns no rows that could be filtered or shaped", hint="Send its arguments.")
    media, prefer = media_of(call.headers), prefer_of(call.headers)
    prefer.check()
    if chosen is None and (media.csv or media.stripped):
        raise BroadsheetError(f"None of these media types are available: {media.name}", code="PGRST107", status=406)
    if prefer.most is not None and action.returns is not Returns.ROWS:
        message = "Function must return SETOF or TABLE when max-affected preference is used with handling=strict"
        raise BadQuery(message, code="PGRST128")
    return Wish(media, prefer, chosen)


# ---- how it is answered ---------------------------------------------------------------------------------------------


async def _run(call: Call, action: Action, arguments: dict[str, Any], query: Query) -> Response:
    require_function(call.who, _name(call))
    wish = _wish(call, action, query)
    call.trace.mark("plan")
    inside = replace(call, who=unscoped(call.who))  # who may call a function may have what it does

    may_undo = call.service.settings.allow_rollback and call.unit is None
    keep = not (may_undo and wish.prefer.tx == "rollback")

    async def work(session: AppSession) -> Response:
        result = await action.function(session, **arguments)
        return _response(call, wish, await _answered(call, session, action, wish, result), may_undo=may_undo)

    if action.reads:
        return await inside.look(work)
    require_key(call)
    if not (keep and _may_join(inside, action, wish)):
        return await respond(inside, work, keep=keep)
    chosen = wish.chosen
    assert chosen is not None

    def show(rows: list[Any]) -> Response:
        return _response(call, wish, _page(call, wish, Result(rows), bare=True), may_undo=may_undo)

    asked = Asked(action, arguments, chosen.shown, show)
    return await served(Order(inside, action.function, asked, call_all, partial(respond, inside, work)))


def _may_join(call: Call, action: Action, wish: Wish) -> bool:
    """Whether this may be made together with other calls: the row that it returns is shown whatever comes."""
    if action.group is None or wish.chosen is None or wish.prefer.count is not None:
        return False
    return wish.chosen.is_plain and may_join(call, wish.media)


def _response(call: Call, wish: Wish, found: Answered, *, may_undo: bool) -> Response:
    headers = {"Content-Range": found.range, **wish.prefer.applied(call.method, tx=may_undo)}
    if call.method == "POST" and (wish.prefer.returns in ("minimal", "headers-only") or not found.body):
        return answer(call, b"", 204, headers)
    if call.method == "POST":
        return answer(call, found.body, found.status, headers, media=wish.media)
    return tagged(call, found.body, etag_of(found.body), headers, media=wish.media, status=found.status)


async def _answered(call: Call, session: AppSession, action: Action, wish: Wish, result: Any) -> Answered:
    match action.returns:
        case Returns.VOID:
            return Answered(b"", 204, content_range(0, 0))
        case Returns.VALUE:
            return Answered(encode(result), 200, content_range(0, 1, 1 if wish.prefer.count else None))
        case Returns.ROW:
            return await _rows(call, session, wish, [result], bare=True)
        case Returns.ROWS:
            return await _rows(call, session, wish, result, bare=False)


async def _rows(call: Call, session: AppSession, wish: Wish, keys: Sequence[Any], *, bare: bool) -> Answered:
    """`bare`: one row as an object, null where the caller may not see it."""
    chosen, prefer = wish.chosen, wish.prefer
    assert chosen is not None
    if prefer.most is not None and len(keys) > prefer.most:
        message = "Query result exceeds max-affected preference constraint"
        raise BadQuery(message, code="PGRST124", details=f"The query affects {len(keys)} rows")
    steps = read_chosen(call, chosen, keys, session.unit.now, count=prefer.count is not None)
    return _page(call, wish, await session.run(call.trace.counted(steps)), bare=bare)


def _page(call: Call, wish: Wish, result: Result, *, bare: bool) -> Answered:
    chosen, rows = wish.chosen, result.rows
    assert chosen is not None
    status = status_of(chosen.offset, len(rows), result.total)
    if bare and not rows and not wish.media.one:
        return Answered(b"null", status, content_range(0, 0, result.total))
    body = render(wish.media, call.service.catalog, chosen.shown, rows, bare=bare)
    return Answered(body, status, content_range(chosen.offset, len(rows), result.total))
