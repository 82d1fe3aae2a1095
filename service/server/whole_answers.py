"""An answer in one call of the system."""

from __future__ import annotations

import asyncio


class WholeAnswers:
    """A transport that holds an answer's head back until something of the body is written, and sends both at once.

    uvicorn writes them one after the other, and each write is a call of the system that wakes the caller. Where the
    body is late, the head goes out in the next turn of the loop.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""
        self._is_head = True

    def write(self, data: bytes) -> None:
        if self._is_head and not data.startswith(_CONTINUE):
            self._is_head, self._head = False, data
            self._loop.call_soon(self._flush)
        else:
            head, self._head = self._head, b""
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


_CONTINUE = b"HTTP/1.1 100 "
