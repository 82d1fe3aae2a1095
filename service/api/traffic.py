"""What is going on now: requests in flight, the bytes they hold, and which ones are shed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from service.api.auth import Access
from service.api.browsers.cors import Cors
from service.api.endpoints import LONGEST_CACHED, Endpoints
from service.errors import TooManyBytes
from service.metrics import Metrics
from service.settings import Settings
from service.surroundings.trusted_proxies import TrustedProxies
from service.telemetry.ids import RequestIds
from service.telemetry.spans import Spans

log = logging.getLogger(__name__)

LOG_LINES_PER_S = 100  # rejections beyond are counted in one line, for a flood should not be one of the disk as well

# How long a path whose queue was full is refused by its connection. That costs a part of a refusal by its route. A
# queue that is full does not run empty in that time.
SHED_FOR_S = 0.02
PATHS_SHED = 1_000  # a path may be written in many ways

MOST_HEADERS = 100  # of one request, as Apache and Python's http.client have it; browsers send fewer than 30

MOST_PIPELINED = 16  # requests sent ahead of a response on one connection; no client of today does that


class Traffic:
    """The requests being answered, the bytes they hold, and whether the server is closing."""

    def __init__(
        self,
        settings: Settings,
        access: Access,
        endpoints: Endpoints,
        metrics: Metrics,
        spans: Spans | None = None,
        *,
        shed_for_s: float = SHED_FOR_S,
    ) -> None:
        self.settings = settings
        self.access = access
        self.endpoints = endpoints
        self.metrics = metrics
        self.spans = spans  # None: nobody records them
        self.cors = Cors(settings.cors_origins) if settings.cors_origins else None
        self.proxies = TrustedProxies(settings.trusted_proxies)
        self.is_draining = False  # answers ask callers to leave, with `Connection: close`; everything is still answered
        self.is_closing = False  # new predictions are refused
        self.is_cut_off = False
        self.held_bytes = 0
        self.tasks: set[asyncio.Future[Any]] = set()
        self.rejections = RejectionLog()
        self.unfolding = asyncio.Lock()  # held by the body that becomes many times as large now
        self.texts = asyncio.Lock()  # held by the long text that is parsed now
        metrics.in_progress = lambda: len(self.tasks)
        self._shed_for_s = shed_for_s
        self.shed_until: dict[bytes, float] = {}  # by path as sent

    def hold(self, count: int) -> None:
        """Count more bytes of a body. Raises TooManyBytes."""
        self.held_bytes += count
        if not self.has_room(0):
            raise TooManyBytes(f"all requests together may hold {self.settings.max_held_bytes:,} bytes; send it again")

    def has_room(self, count: int) -> bool:
        """Whether more bytes may be held."""
        return self.held_bytes + count <= self.settings.max_held_bytes

    def let_go(self, count: int) -> None:
        self.held_bytes -= count

    def shed(self, path: bytes) -> None:
        """A path's queue is full: refuse the next requests to it without asking its route, for a moment."""
        if len(path) > LONGEST_CACHED:
            return
        if len(self.shed_until) >= PATHS_SHED:
            self.shed_until.clear()
        self.shed_until[path] = time.monotonic() + self._shed_for_s

    def is_shed(self, path: bytes) -> bool:
        """Whether requests to a path, as sent, are to be refused now."""
        until = self.shed_until.get(path)
        return until is not None and time.monotonic() < until

    def count(self, path: str, status: int, took_s: float) -> None:
        """Count an answer."""
        template = self.endpoints.template if len(path) <= LONGEST_CACHED else self.endpoints.look_up
        self.metrics.answered(template(path), status, took_s)

    def reject(
        self, status: int, reason: str, method: str, path: str, client: str, ids: RequestIds, version: str = ""
    ) -> None:
        """Count a rejection, and say so in the log. `version` is of the model that was asked, where one was chosen."""
        self.metrics.rejected(reason)
        self.rejections.add(status, reason, method, path, client, ids, version)

    def client_of(self, scope: Mapping[str, Any]) -> str:
        """The address of a request's caller, fit for a log; behind a trusted proxy the one that it names."""
        return self.proxies.caller_of(scope)

    def drain(self) -> None:
        """Ask every caller to leave once answered, and go on answering."""
        self.is_draining = True

    def close(self) -> None:
        """Refuse new predictions; what was accepted is still answered."""
        self.is_draining = self.is_closing = True

    def cut_off(self) -> None:
        """End what is still being answered; each gets a 503, if its answer has not begun."""
        self.is_cut_off = True
        for task in self.tasks:
            task.cancel()


class RejectionLog:
    """A line for each rejected request, and where they are too many in a second, one that counts the rest."""

    def __init__(self, lines_per_s: int = LOG_LINES_PER_S) -> None:
        self._lines_per_s = lines_per_s
        self._second = 0
        self._lines = 0
        self._uncounted: Counter[str] = Counter()

    def add(
        self, status: int, reason: str, method: str, path: str, client: str, ids: RequestIds, version: str = ""
    ) -> None:
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
        by = f", version {version}" if version else ""
        words = "rejected %d %s: %s %.200r from %s, %s%s"
        log.log(level, words, status, reason, method, path, client, ids, by, extra=ids.as_extra())

    def _say_rest(self) -> None:
        if self._uncounted:
            rest = ", ".join(f"{count} {reason}" for reason, count in self._uncounted.most_common())
            log.warning("rejected as well, more than are logged one by one: %s", rest)
            self._uncounted.clear()
