"""Whether and when to try again. Nothing sleeps here."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from .errors import ClientError, ConnectionLost

RETRY_S = 30.0  # seconds after the first try; a server that is started anew answers by then
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 5.0  # of our own choosing; a server may ask for more
LONGEST_ASKED_S = 10.0  # of what a server asks for; a restart is over sooner than a proxy's Retry-After says
_LONGEST_NUMBER, _LONGEST_DATE = 400, 100  # characters; each is far beyond any that makes sense
SPREAD = 0.25  # callers who were refused together should not come back together

log = logging.getLogger("sightline_client")


class Attempts:
    """The tries that one call may make: none that would begin after `retry_s` or `timeout_s`, nor more than `retries`.

    None for `retries` is as many as there is time for.
    """

    def __init__(self, retries: int | None, retry_s: float, timeout_s: float, clock: Callable[[], float]) -> None:
        self._retries_left = math.inf if retries is None else retries
        self._last_try = clock() + min(retry_s, timeout_s)
        self._clock = clock
        self._deadline = clock() + timeout_s
        self._wait_s = FIRST_WAIT_S
        self._was_lost = False

    def left_s(self) -> float:
        return max(0.001, self._deadline - self._clock())

    def wait_after(self, error: ClientError) -> float:
        """Seconds to wait before the next try. Raises the error when there is to be none."""
        if isinstance(error, ConnectionLost) and not self._was_lost:
            self._was_lost = True  # most likely the server closed an idle connection as we took it: no fault, no wait
            return 0.0
        if not error.is_transient or self._retries_left == 0:
            raise error
        wait_s = self._next_wait_s(error.retry_after)
        if self._clock() + wait_s >= self._last_try:
            raise error
        self._retries_left -= 1
        log.info("%s; trying again in %.1f s", error, wait_s)
        return wait_s

    def _next_wait_s(self, retry_after: str | None) -> float:
        """What the server asks for, up to LONGEST_ASKED_S, and at least a wait that doubles each time."""
        own_s, self._wait_s = self._wait_s * random.uniform(0.5, 1), min(2 * self._wait_s, LONGEST_WAIT_S)  # noqa: S311
        asked_s = read_retry_after(retry_after, datetime.now(UTC)) if retry_after else None
        return max(own_s, min(asked_s or 0, LONGEST_ASKED_S) * random.uniform(1, 1 + SPREAD))  # noqa: S311


def read_retry_after(text: str, now: datetime) -> float | None:
    """Seconds, 0 or more, that a Retry-After header asks to wait in seconds or until a date; None if it is neither."""
    if text.isascii() and text.isdigit():
        return float(text[:_LONGEST_NUMBER])
    try:
        until = parsedate_to_datetime(text[:_LONGEST_DATE])
        return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds())
    except (ValueError, OverflowError, IndexError, TypeError):  # what its parser raises for dates of no calendar
        return None
