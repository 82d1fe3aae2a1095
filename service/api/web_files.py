"""Files that browsers ask for: packed for the line, and not sent again while they are the same."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import mimetypes
from functools import cache
from pathlib import Path
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response


class WebFile(NamedTuple):
    """A file in memory. `packed` is it in gzip, where that is smaller by half or more."""

    body: bytes
    packed: bytes
    media_type: str
    tag: str


@cache
def web_file(path: Path) -> WebFile:
    """Read once in a process's life. To pack a large one takes some hundredths of a second."""
    body = path.read_bytes()
    packed = gzip.compress(body, mtime=0)
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    return WebFile(body, packed if 2 * len(packed) < len(body) else b"", media_type, tag)


async def file_response(request: Request, path: Path) -> Response:
    """The file, in gzip where the browser reads that; 304 to a browser that has it already."""
    found = await asyncio.to_thread(web_file, path)
    headers = {"Cache-Control": "no-cache", "ETag": found.tag, "Vary": "Accept-Encoding"}
    if found.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if found.packed and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=found.media_type)
    return Response(found.body, headers=headers, media_type=found.media_type)
