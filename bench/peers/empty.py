"""What Starlette itself costs: an answer of nothing, after Starlette's "Introduction". Asks no database."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


async def nothing(request: Request) -> Response:
    return Response()


async def health(request: Request) -> Response:
    return JSONResponse({"ok": True})


app = Starlette(routes=[Route("/", nothing), Route("/health", health)])
