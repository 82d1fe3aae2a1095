"""How far the event loop is behind."""

from __future__ import annotations

import asyncio
import time


class Lag:
    """How far the event loop is behind: by how much `due` has passed.

    What waits in the loop is invisible to queues, and grows without bound in a flood.
    """

    BEAT_S = 0.05

    def __init__(self) -> None:
        self.due = float("inf")  # when the loop is to come round next, in the clock of `time.monotonic`

    def watch(self) -> None:
        """Begin; belongs to the running loop."""
        self.due = time.monotonic() + self.BEAT_S
        asyncio.get_running_loop().call_later(self.BEAT_S, self.watch)
