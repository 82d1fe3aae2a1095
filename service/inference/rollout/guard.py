"""The guard of a canary: it looks at answers, and ends the canary's traffic where they are not good enough."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from classifier.errors import ImageError
from classifier.rollout_file import Guard
from service.errors import TryLater

REMEMBERED = 2_000  # requests; of more, the older ones count for half
CERTAIN = 2.576  # standard deviations: 99 % of a normal distribution lie within
_SLOW_SHARE = 0.01  # of the requests may be slower than the 99th percentile


class Share:
    """Of how many requests something was true, of those looked at lately."""

    def __init__(self) -> None:
        self.looked_at = 0.0
        self.true = 0.0
        self.ever_looked_at = 0

    def add(self, is_true: bool) -> None:
        if self.looked_at >= REMEMBERED:
            self.looked_at, self.true = self.looked_at / 2, self.true / 2
        self.looked_at += 1
        self.true += is_true
        self.ever_looked_at += 1

    @property
    def value(self) -> float:
        return self.true / self.looked_at if self.looked_at else 0.0

    def interval(self) -> tuple[float, float]:
        """The 99 % Wilson interval; 0..1 where nothing was looked at."""
        if not self.looked_at:
            return 0.0, 1.0
        n, p, z = self.looked_at, self.value, CERTAIN
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)


class CanaryGuard:
    """Holds a canary to its limits. `shut_off` is called once, with the limit's name and the reason in words."""

    def __init__(self, limits: Guard, shut_off: Callable[[str, str], None]) -> None:
        self._limits = limits
        self._shut_off = shut_off
        self._faults, self._slow, self._agreed = Share(), Share(), Share()
        self.has_acted = False

    def answered(self, took_ns: int, error: BaseException | None) -> None:
        """Look at a request that the canary answered, or failed to; a bad picture and a full queue tell nothing."""
        if isinstance(error, ImageError | TryLater | asyncio.CancelledError):
            return
        self._faults.add(error is not None)
        self._judge("errors", self._faults, most=self._limits.max_error_rate)
        if error is None and self._limits.max_p99_ms is not None:
            self._slow.add(took_ns > self._limits.max_p99_ms * 1e6)
            self._judge("slow answers", self._slow, most=_SLOW_SHARE)

    def failed_behind(self, error: BaseException) -> None:
        """Look at a shadow request that the canary failed on."""
        self.answered(0, error)

    def compared(self, agreed: bool) -> None:
        """Look at a request that canary and stable version were both asked."""
        self._agreed.add(agreed)
        self._judge("agreement", self._agreed, least=self._limits.min_agreement)

    def _judge(self, what: str, share: Share, *, most: float = 1.0, least: float = 0.0) -> None:
        if self.has_acted or share.ever_looked_at < self._limits.min_requests:
            return
        low, high = share.interval()
        if low > most or high < least:
            self.has_acted = True
            limit = f"{most:.3g} at most" if low > most else f"{least:.3g} at least"
            words = f"{what}: {share.value:.3f} of {share.ever_looked_at} requests, where {limit} is allowed"
            self._shut_off(what, words)
