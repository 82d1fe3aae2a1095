"""`/docs`: the OpenAPI document as a page with navigation and a form to try each route, all of it from this server.

RapiDoc draws it (docs/tuning.md#page-of-the-api), a kept file of another project; `reference/vendored.json` says which.
It writes style attributes, which our content security policy forbids. So `reference/styles.js`, which is read first,
sets them as properties.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from service.api.web_files import file_response

_FOLDER = Path(__file__).parent / "reference"
_VENDORED = json.loads((_FOLDER / "vendored.json").read_text(encoding="utf-8"))
_LIBRARY = str(_VENDORED["file"])
_FILES = (_LIBRARY, "page.js", "styles.js", "page.css")

# Of the style sheet that the library writes into its own element, one for its light look and one for its dark one.
_STYLE_HASHES = " ".join(f"'{digest}'" for digest in _VENDORED["style_hashes"])
_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        f"style-src 'self' {_STYLE_HASHES}",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}

# The page and its files, which say nothing of models. The document that the page shows is asked for beside them.
PATHS = frozenset({"/docs", *(f"/docs/{name}" for name in _FILES)})


def integrity(name: str) -> str:
    """The SHA-384 of a file of the page, as the attribute `integrity` has it."""
    return "sha384-" + base64.b64encode(hashlib.sha384((_FOLDER / name).read_bytes()).digest()).decode()


async def index(request: Request) -> Response:
    """GET /docs"""
    return Response(_html(), headers=_HEADERS, media_type="text/html")


@cache
def _html() -> str:
    html = (_FOLDER / "page.html").read_text(encoding="utf-8")
    for name in _FILES:
        html = html.replace(f'"docs/{name}"', f'"docs/{name}" integrity="{integrity(name)}"')
    return html


def _file(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return await file_response(request, _FOLDER / name)

    return answer


ROUTES: tuple[BaseRoute, ...] = (
    Route("/docs", index),
    Mount("/docs", routes=[Route(f"/{name}", _file(name)) for name in _FILES]),
)
