"""The page at `/`: plain HTML, CSS and ES modules, from this server alone."""

from __future__ import annotations

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.api.web_files import file_response

_FOLDER = Path(__file__).parents[2] / "web"
_HTML = (_FOLDER / "page.html").read_bytes()

_NOTICE_COMMENT = b"<!-- notice -->"
_NOTICE = (
    b'<p class="notice" data-text="keeps">This server keeps some of the pictures it is unsure of or does not know, '
    b"to learn.</p>"
)

# Nothing inline, nothing from elsewhere, no forms sent, no frames. Pictures that a person chose are blob: URLs.
_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",
}


# The page and its files, which say nothing of models. They need no key, so that the page can ask for one.
PATHS = frozenset(
    {"/", *(f"/web/{file.relative_to(_FOLDER).as_posix()}" for file in _FOLDER.rglob("*") if file.is_file())}
)


async def file(request: Request) -> Response:
    """A file of the page. Raises HTTPException for others."""
    if (path := request.scope["path"]) not in PATHS:
        raise HTTPException(404)
    return await file_response(request, _FOLDER / path.removeprefix("/web/"))


async def index(request: Request) -> Response:
    catalog = getattr(request.app.state, "catalog", None)
    keeps = catalog is not None and catalog.settings.keep_samples
    return Response(_HTML.replace(_NOTICE_COMMENT, _NOTICE if keeps else b""), headers=HEADERS, media_type="text/html")


ROUTES = (Route("/", index), Route("/web/{file:path}", file))
