"""How far the event loop is behind."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable


class Lag:
    """How far the event loop is behind. What waits in it is invisible to queues, and grows without bound in a flood."""

    BEAT_S = 0.05
    REPORT_EVERY = 5  # looks; bringing the metrics up to date takes longer than looking (1 ms)

    def __init__(self) -> None:
        self._due = float("inf")

    def watch(self, report: Callable[[], None] = lambda: None) -> None:
        """Begin; belongs to the running loop."""
        loop = asyncio.get_running_loop()

        looks = itertools.count()

        def beat() -> None:
            if next(looks) % self.REPORT_EVERY == 0:
                report()
            self._due = time.monotonic() + self.BEAT_S
            loop.call_later(self.BEAT_S, beat)

        beat()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._due
