"""How far a long phase is, and how long it will take yet."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TextIO

FIRST_LINE_S = 2.0  # a phase that is over sooner says nothing


class Progress(Protocol):
    """Is called during a phase, as "reading images", with how much of it is `done`, up to `total`."""

    def __call__(self, phase: str, done: int, total: int) -> None: ...


def silent(phase: str, done: int, total: int) -> None:
    """Says nothing."""


class Counted:
    """Adds up what is done of one phase, part by part."""

    def __init__(self, progress: Progress, phase: str, total: int) -> None:
        self._progress = progress
        self._phase = phase
        self._total = total
        self._done = 0

    def add(self, more: int) -> None:
        self._done += more
        self._progress(self._phase, self._done, self._total)


class ProgressLines:
    """Writes lines as `reading images: 3,400 of 20,000, 41 s left`.

    On a terminal one line changes in place. Elsewhere, as in a log, there is a line every `every_s` seconds, and
    one for each tenth of a phase at most. Not for several threads at once.
    """

    def __init__(self, out: TextIO, every_s: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._every_s = 0.2 if out.isatty() else every_s
        self._clock = clock
        self._phase = ""
        self._began = self._written = 0.0
        self._said = 0  # done when a line was last written
        self._first = 0  # done when the phase began: a resumed fit has epochs behind it
        self._width = 0

    def __call__(self, phase: str, done: int, total: int) -> None:
        now = self._clock()
        if phase != self._phase:
            self._phase, self._began, self._first, self._said = phase, now, done, done
            self._written = now + FIRST_LINE_S - self._every_s
        if done >= total:
            self._clear()
            self._phase = ""
        elif done > self._first and now - self._written >= self._every_s and self._is_further(done, total):
            self._written, self._said = now, done
            left_s = (now - self._began) * (total - done) / (done - self._first)
            self._write(f"{phase}: {done:,} of {total:,}, {_duration(left_s)} left")

    def _is_further(self, done: int, total: int) -> bool:
        """Whether a log is to hear of it: of the first, and then of each tenth of the phase."""
        return self._out.isatty() or self._said == self._first or 10 * (done - self._said) >= total

    def _write(self, line: str) -> None:
        if self._out.isatty():
            self._out.write(f"\r{line:{self._width}}")
            self._width = max(self._width, len(line))
        else:
            self._out.write(f"{line}\n")
        self._out.flush()

    def _clear(self) -> None:
        if self._width:
            self._out.write("\r" + " " * self._width + "\r")
            self._out.flush()
            self._width = 0


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"
