"""The kernel's side of a connection, for tests of protocols without sockets."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson


class Wire:
    """The kernel's side of a connection."""

    def __init__(self, peer: str = "") -> None:
        self._peer = peer
        self.writes: list[bytes] = []
        self.unread = 0
        self.closed = asyncio.Event()
        self.aborted = self.half_closed = False

    @property
    def written(self) -> bytes:
        return b"".join(self.writes)

    def write(self, body: bytes) -> None:
        if self.closed.is_set():
            raise RuntimeError("the handler is closed")  # as uvloop's do
        self.writes.append(body)

    def close(self) -> None:
        self.closed.set()

    def abort(self) -> None:
        self.aborted = True
        self.closed.set()

    def is_closing(self) -> bool:
        return self.closed.is_set()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.half_closed = True

    def get_write_buffer_size(self) -> int:
        return self.unread

    def get_extra_info(self, name: str) -> Any:
        return (self._peer, 40_000) if name == "peername" and self._peer else None

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def refusal(self) -> tuple[int, str]:
        """Status and code of a refusal, after which nothing may come."""
        head, _, body = self.written.partition(b"\r\n\r\n")
        problem = orjson.loads(body)
        assert head.startswith(b"HTTP/1.1 %d " % problem["status"])
        assert b"connection: close" in head
        assert self.half_closed or self.closed.is_set()
        return problem["status"], problem["code"]
