"""How far a job with many images is, and the line that says so."""

from __future__ import annotations

import time
from typing import NamedTuple, TextIO

EVERY_S = 10.0  # between lines, where there is no terminal


class Progress(NamedTuple):
    """How far a job is: `new` of the `done` images were scored by this run. `total` is None where nobody knows it."""

    done: int
    new: int
    total: int | None
    seconds: float


class ProgressLine:
    """One line that changes on a terminal, and a new one every ten seconds elsewhere."""

    def __init__(self, to: TextIO) -> None:
        self._to = to
        self._moves = to.isatty()
        self._every_s = 0.2 if self._moves else EVERY_S
        self._said = time.monotonic()
        self._is_open = False

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._said < self._every_s:
            return
        self._said = now
        text = described(progress)
        self._to.write(f"\r\x1b[K{text}" if self._moves else f"{text}\n")
        self._to.flush()
        self._is_open = self._moves

    def end(self) -> None:
        if self._is_open:
            self._to.write("\r\x1b[K")


def described(progress: Progress) -> str:
    """As `3,400 of 20,000 images, 812/s, 20 s left`."""
    rate = progress.new / progress.seconds if progress.seconds else 0.0
    total = "" if progress.total is None else f" of {progress.total:,}"
    text = f"{progress.done:,}{total} images, {rate:,.0f}/s"
    if progress.total is None or not rate:
        return text
    return f"{text}, {_time((progress.total - progress.done) / rate)} left"


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3600:.1f} h"
