"""What the log says of refused requests."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

log = logging.getLogger(__name__)

LOG_LINES_PER_S = 100  # rejections beyond are counted in one line, for a flood should not be one of the disk as well


class RejectionLog:
    """A line for each rejected request, and where they are too many in a second, one that counts the rest."""

    def __init__(self, lines_per_s: int = LOG_LINES_PER_S) -> None:
        self._lines_per_s = lines_per_s
        self._second = 0
        self._lines = 0
        self._uncounted: Counter[str] = Counter()

    def add(self, status: int, reason: str, method: str, path: str, client: str, request_id: str) -> None:
        second = int(asyncio.get_running_loop().time())
        if second != self._second:
            self._second, self._lines = second, 0
            self._say_rest()
        self._lines += 1
        if self._lines > self._lines_per_s:
            if not self._uncounted:
                asyncio.get_running_loop().call_later(1, self._say_rest)
            self._uncounted[reason] += 1
            return
        level = logging.WARNING if status >= 500 else logging.INFO
        log.log(
            level, "rejected %d %s: %s %.200r from %s, request %s", status, reason, method, path, client, request_id
        )

    def _say_rest(self) -> None:
        if self._uncounted:
            rest = ", ".join(f"{count} {reason}" for reason, count in self._uncounted.most_common())
            log.warning("rejected as well, more than are logged one by one: %s", rest)
            self._uncounted.clear()
