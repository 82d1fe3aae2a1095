"""How far the event loop is behind."""

from __future__ import annotations

import asyncio
import time


class Lag:
    """How far the event loop is behind. What waits in it is invisible to queues, and grows without bound in a flood."""

    BEAT_S = 0.05

    def __init__(self) -> None:
        self._due = float("inf")

    def watch(self) -> None:
        """Begin; belongs to the running loop."""
        self._due = time.monotonic() + self.BEAT_S
        asyncio.get_running_loop().call_later(self.BEAT_S, self.watch)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._due
