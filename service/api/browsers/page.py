"""The page at `/`: plain HTML, CSS and ES modules, from this server alone."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from pathlib import Path
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

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


class _File(NamedTuple):
    """A file of the page. `packed` is it in gzip, where that is smaller by much."""

    body: bytes
    packed: bytes
    media_type: str
    tag: str


def _read(file: Path) -> _File:
    body = file.read_bytes()
    packed = gzip.compress(body, mtime=0)
    media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return _File(
        body, packed if 2 * len(packed) < len(body) else b"", media_type, f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    )


# Under 100 kB in memory: on a slow line a third of the bytes is a third of the wait.
_FILES = {path: _read(_FOLDER / path.removeprefix("/web/")) for path in PATHS - {"/"}}


async def file(request: Request) -> Response:
    """A file of the page; a browser that has it asks whether it is still the same. Raises HTTPException for others."""
    if (found := _FILES.get(request.scope["path"])) is None:
        raise HTTPException(404)
    headers = {"Cache-Control": "no-cache", "ETag": found.tag, "Vary": "Accept-Encoding"}
    if found.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if found.packed and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=found.media_type)
    return Response(found.body, headers=headers, media_type=found.media_type)


async def index(request: Request) -> Response:
    catalog = getattr(request.app.state, "catalog", None)
    keeps = catalog is not None and catalog.settings.keep_samples
    return Response(_HTML.replace(_NOTICE_COMMENT, _NOTICE if keeps else b""), headers=HEADERS, media_type="text/html")


ROUTES = (Route("/", index), Route("/web/{file:path}", file))
