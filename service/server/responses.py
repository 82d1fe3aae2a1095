"""Responses on the wire: those that a connection writes itself, and an app's in one call of the system."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.api.responses import SECURITY_HEADERS, error_response
from service.errors import Overloaded, is_oip
from service.telemetry.ids import RequestIds

OVERLOADED = Overloaded("more requests come than can be answered; send it again")

Headers = Iterable[tuple[bytes, bytes]]

_ITS_IDS = RequestIds("{its id}")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def raw_response(
    response: Response, default_headers: Headers, ids: RequestIds | None, keep_alive: bool, cors: Headers = ()
) -> bytes:
    """The bytes that uvicorn and our middleware would send for a response. Without ids it names none.

    `cors` are the headers that let a page of another origin read it.
    """
    lines = [
        *(_line(header) for header in default_headers),
        *(_line(header) for header in response.raw_headers),
        *(_line(header) for header in SECURITY_HEADERS),
    ]
    if ids is not None:
        lines += map(_line, ids.headers())
    lines += map(_line, cors)
    if not keep_alive:
        lines.append(b"connection: close\r\n")
    return b"".join((STATUS_LINE[response.status_code], *lines, b"\r\n", response.body))


def overloaded(path: str, default_headers: Headers, ids: RequestIds, keep_alive: bool, cors: Headers = ()) -> bytes:
    """`raw_response` of OVERLOADED in the words of the path's protocol; cached, since in a flood it is most answers."""
    made = _overloaded("/v2" if is_oip(path) else "/v1", tuple(default_headers), keep_alive, tuple(cors))
    return made.replace(_ITS_ID_LINES, b"".join(map(_line, ids.headers())))


@functools.lru_cache(maxsize=8)  # the default headers change every second, with the date
def _overloaded(
    path: str, default_headers: tuple[tuple[bytes, bytes], ...], keep_alive: bool, cors: tuple[tuple[bytes, bytes], ...]
) -> bytes:
    return raw_response(error_response(path, OVERLOADED), default_headers, _ITS_IDS, keep_alive, cors)


def _line(header: tuple[bytes, bytes]) -> bytes:
    return b"%s: %s\r\n" % header


_ITS_ID_LINES = b"".join(map(_line, _ITS_IDS.headers()))


class WholeResponses:
    """A transport that holds a response's head back until some of the body is written, and sends both at once.

    uvicorn writes them one after the other, and each write is a call of the system that wakes the caller. Where the
    body is late, the head goes out in the next turn of the loop.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""
        self._is_head = True

    def write(self, data: bytes) -> None:
        if self._is_head and data != CONTINUE:
            self._is_head, self._head = False, data
            self._loop.call_soon(self._flush)
        else:
            head, self._head = self._head, b""
            if not self._transport.is_closing():
                self._transport.write(head + data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def _flush(self) -> None:
        head, self._head = self._head, b""
        if head and not self._transport.is_closing():
            self._transport.write(head)
