"""Bodies that become many times as large: one at a time, counted, and refused before they do where none needs to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TypeVar

import numpy as np
from starlette.requests import Request

from service.api.traffic import Traffic
from service.errors import BodyTooLarge

T = TypeVar("T")

TRAFFIC = "traffic"  # where the middleware leaves it, in the state of the scope

MOST_BRACKETS = 64  # `[` and `{` of JSON, beyond those of a tensor's own lists
_MOST_COMMAS = 10_000  # of JSON that is one text, so that an error can still name what it is instead

# What orjson makes of JSON: so many bytes of each byte of text (`1.5,` is 32), and of each list or object.
_BYTES_OF_NUMBERS, _BYTES_OF_BRACKET = 8, 64

_BLOCK = 262_144  # bytes whose brackets are counted at a time

# orjson holds the interpreter while it parses: two at a time are no faster, and the event loop would wait for both.
_ONE = ThreadPoolExecutor(1, "unfolding")


async def in_turn(work: Callable[[], T]) -> T:
    """What `work` gives, which runs in a thread, after those that came before."""
    return await asyncio.get_running_loop().run_in_executor(_ONE, work)


class Held:
    """What the body of a request becomes, counted as held until the block ends; on our own server only."""

    __slots__ = ("_count", "_traffic")

    def __init__(self, request: Request) -> None:
        self._traffic: Traffic | None = request.scope.get("state", {}).get(TRAFFIC)
        self._count = 0

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        if self._count:
            self.let_go(self._count)

    def add(self, count: int) -> None:
        """Count more bytes. Raises TooManyBytes, or BodyTooLarge where there will never be room."""
        if self._traffic is None:
            return
        if count > (most := self._traffic.settings.max_held_bytes):
            raise BodyTooLarge(f"the body becomes {count:,} bytes, and all bodies together may hold {most:,}")
        self._count += count
        self._traffic.hold(count)

    def let_go(self, count: int) -> None:
        """Some of it is there no more."""
        if self._traffic is not None:
            self._count -= count
            self._traffic.let_go(count)

    def turn(self) -> AbstractAsyncContextManager[object]:
        """A block in which no other body is unfolded or parsed, so that only one lies there unfolded and unread."""
        return nullcontext() if self._traffic is None else self._traffic.unfolding

    def turn_of_texts(self) -> AbstractAsyncContextManager[object]:
        """The same for JSON that is one text, which is quick, and waits for no other kind."""
        return nullcontext() if self._traffic is None else self._traffic.texts


class Brackets:
    """Counts the `[` and `{` of JSON while it comes, also in texts, and other marks where those are named.

    `most` says how many the first so many bytes may have. Only `json_bytes` of what comes are JSON.
    """

    def __init__(self, most: Callable[[int], int], json_bytes: int, marks: bytes = b"[{") -> None:
        self._most = most
        self._json_bytes = json_bytes
        self._marks = marks
        self._bytes = self._count = 0

    def add(self, part: bytes | memoryview) -> None:
        """Count those of one more part. Raises BodyTooLarge where they are more than anybody needs."""
        json = memoryview(part)[: self._json_bytes - self._bytes]
        for at in range(0, len(json), _BLOCK):
            letters = np.frombuffer(json[at : at + _BLOCK], np.uint8)
            self._count += sum(int(np.count_nonzero(letters == mark)) for mark in self._marks)
            self._bytes += len(letters)
            if self._count > (most := self._most(self._bytes)):
                wanted = f"at most {most:,} of {' '.join(self._marks.decode())}"
                came = f"{self._count:,} in the first {self._bytes:,} bytes"
                raise BodyTooLarge(f"expected JSON with {wanted}, got {came}; nothing was parsed")

    @property
    def parsed_bytes(self) -> int:
        """About how many bytes the JSON takes once it is parsed."""
        return _BYTES_OF_NUMBERS * self._bytes + _BYTES_OF_BRACKET * self._count


def text_bytes(json: bytes) -> int:
    """About how many bytes JSON takes that is one text, parsed and decoded. Raises BodyTooLarge where it is not."""
    Brackets(lambda _: MOST_BRACKETS, len(json)).add(json)
    Brackets(lambda _: _MOST_COMMAS, len(json), b",").add(json)
    is_wide = not json.isascii() or b"\\u" in json  # one such letter makes all of the text take 4 bytes a letter
    return (5 if is_wide else 2) * len(json)
