"""The page that shows the description and tries it out: Swagger UI from its wheel. It asks no other host for anything,
and its Content-Security-Policy would not let it.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from app.http.about import Open
from app.http.context import State

FILES = ("star_openapi_swagger", "templates/swagger")  # package and folder
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",  # the icons in its style sheet
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
# Every URL is relative, so that the page works under a prefix too.
PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Broadsheet</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/files/css/swagger-ui.css">
<script src="docs/files/js/swagger-ui-bundle.js" defer></script>
<script src="docs/start.js" defer></script>
</head>
<body><div id="page"></div></body>
</html>
"""
# The description depends on who asks: it is asked for again when a key is given or taken back.
SCRIPT = """\
"use strict";
let headers = {};
const again = (change) => (original, system) => (payload) => {
  const result = original(payload);
  change(payload);
  system.specActions.download();
  return result;
};
const give = ({ apikey, bearer }) => {
  if (apikey) headers = { ...headers, apikey: apikey.value };
  if (bearer) headers = { ...headers, Authorization: `Bearer ${bearer.value}` };
};
const take = (names) => {
  if (names.includes("apikey")) delete headers.apikey;
  if (names.includes("bearer")) delete headers.Authorization;
};
const asCaller = () => ({
  statePlugins: { auth: { wrapActions: { authorize: again(give), logout: again(take) } } },
});
window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#page",
  deepLinking: true,
  validatorUrl: null,
  docExpansion: "none",
  defaultModelsExpandDepth: 0,
  plugins: [asCaller],
  requestInterceptor: (request) => {
    if (request.loadSpec) request.headers = { ...request.headers, ...headers };
    return request;
  },
});
"""


def docs_routes() -> list[BaseRoute]:
    """These need no key: what they show is asked for with the caller's."""
    return [
        Route("/docs", Open(show_page), name="docs"),
        Route("/docs/start.js", Open(show_script), name="docs_script"),
        Mount("/docs/files", StaticFiles(packages=[FILES]), name="docs_files"),
    ]


async def show_page(request: Request[State]) -> Response:
    return Response(PAGE, media_type="text/html", headers={"Content-Security-Policy": POLICY})


async def show_script(request: Request[State]) -> Response:
    return Response(SCRIPT, media_type="text/javascript")
