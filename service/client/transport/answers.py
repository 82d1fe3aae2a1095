"""An answer as it is received: in whole, within a number of bytes, and unfolded no further than that."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import httpx

MAX_ANSWER_BYTES = 10_000_000  # the largest batch with a thousand labels for each image has about 4 MB
ERROR_BYTES = 100_000  # of an error answer: what is read of it; more says nothing more

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


class TooLong(Exception):
    """More bytes than may be received. The message says how many that is."""


class Undecodable(Exception):
    """The body is packed in a way that was not asked for, or is broken."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came for a request. `via` names the proxy that it came by; empty where there is none."""

    status: int
    reason: str
    headers: httpx.Headers
    content: bytes
    via: str = ""


def received(response: httpx.Response, most_bytes: int, left_s: Callable[[], object], via: str = "") -> Answer:
    """The answer with its whole body, of an error only the beginning. Asks `left_s` at each part, which may raise.

    Raises TooLong, Undecodable, and whatever breaks the connection.
    """
    body = _Body(response, most_bytes)
    try:
        for part in response.stream:  # type: ignore[union-attr]  # httpx's own type allows both kinds
            left_s()
            if body.add(part):
                break
    finally:
        response.close()
    return body.answer(via)


async def received_async(
    response: httpx.Response, most_bytes: int, left_s: Callable[[], object], via: str = ""
) -> Answer:
    """As `received`, of an asynchronous transport."""
    body = _Body(response, most_bytes)
    try:
        async for part in response.stream:  # type: ignore[union-attr]
            left_s()
            if body.add(part):
                break
    finally:
        await response.aclose()
    return body.answer(via)


class _Body:
    """The bytes of a body so far, unfolded, and never more than `most_bytes` of them."""

    def __init__(self, response: httpx.Response, most_bytes: int) -> None:
        self._response = response
        self._most = most_bytes
        self._is_error = response.status_code != 200
        self._limit = min(most_bytes, ERROR_BYTES) if self._is_error else most_bytes
        self._packed_bytes = 0
        self._content = bytearray()
        self._unpack = _unpacker(response.headers)

    def add(self, part: bytes) -> bool:
        """Take a part of the body. True where the rest need not be read. Raises TooLong or Undecodable."""
        self._packed_bytes += len(part)
        self._content += self._unpacked(part)
        if max(len(self._content), self._packed_bytes) <= self._limit:
            return False
        if not self._is_error:
            raise TooLong(f"more than {self._most:,} bytes")
        del self._content[self._limit :]
        return True

    def answer(self, via: str) -> Answer:
        response = self._response
        return Answer(response.status_code, response.reason_phrase, response.headers, bytes(self._content), via)

    def _unpacked(self, part: bytes) -> bytes:
        if self._unpack is None:
            return part
        try:
            return self._unpack(part, self._limit - len(self._content) + 1)
        except zlib.error as error:
            raise Undecodable(f"its body is packed and broken ({error})") from error


def _unpacker(headers: httpx.Headers) -> Callable[[bytes, int], bytes] | None:
    """What unpacks the next bytes to so many at most; None for a body that is as it is.

    httpx's own would unpack whatever a part holds, which may be a thousand times its size.
    """
    packed = headers.get("content-encoding", "identity").strip().lower()
    if packed in ("identity", ""):
        return None
    if packed not in ("gzip", "x-gzip", "deflate"):
        raise Undecodable(f"its body is packed as {packed[:40]!r}, which was not asked for")
    return zlib.decompressobj(_GZIP_OR_ZLIB).decompress
