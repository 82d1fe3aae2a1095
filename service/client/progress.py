"""How far a stream is, on one line of a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Sized
from types import TracebackType
from typing import Self, TextIO

_REDRAWN_EVERY_S = 0.1


class Progress:
    """Counts `images` on a line of stderr that rewrites itself; silent where that is no terminal."""

    def __init__(self, images: object, wanted: bool) -> None:
        self._stream: TextIO = sys.stderr
        self._wanted = wanted and self._stream.isatty()
        self._total = f" of {len(images)}" if isinstance(images, Sized) and not isinstance(images, str) else ""
        self._done = self._failed = 0
        self._began_at = self._drawn_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._wanted:
            self._draw()
            self._stream.write("\n")

    def count(self, failed: bool) -> None:
        self._done += 1
        self._failed += failed
        if self._wanted and time.monotonic() - self._drawn_at >= _REDRAWN_EVERY_S:
            self._draw()

    def _draw(self) -> None:
        self._drawn_at = time.monotonic()
        rate = self._done / max(self._drawn_at - self._began_at, 1e-9)
        failed = f", {self._failed} failed" if self._failed else ""
        self._stream.write(f"\r{self._done}{self._total} images{failed}, {rate:.0f}/s\x1b[K")
        self._stream.flush()
