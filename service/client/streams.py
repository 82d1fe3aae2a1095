"""What the streams of both clients share: limits, which images travel together, and each answer on its way out.

Knows neither HTTP nor asyncio.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Literal, Protocol, Self, TextIO, TypeVar

from .errors import ClientError, Misconfigured, ModelNotServed, Unauthorized, UnknownModel
from .results import Answered, Predictions
from .sources import ImageLike, count_of, encoded

# Requests at once. In groups of 8 they keep several batches of 16 at the server and a quarter of its queue.
CONCURRENCY = 8

# Requests that are under way, and as many images again from which the next ones are taken without a wait. Answers are
# given in order, so behind a slow image no more than these are taken.
AHEAD = 2

OnError = Literal["return", "raise"]

_REDRAWN_EVERY_S = 0.1  # the line of progress
_BAR_WIDTH = 20

# What every other image would fare too, so that a stream ends with it.
FATAL = (Misconfigured, ModelNotServed, Unauthorized, UnknownModel)

IMAGES_PER_REQUEST = 8  # most of the client's time is per request, see load_tests/soak.py; servers read up to 64
REQUEST_BYTES = 1_000_000  # with its wrapping a group stays below 1 MiB, which proxies such as nginx let pass

Outcome = Predictions | BaseException


class Outcomes(Protocol):
    """A future, of threads or of asyncio. Errors are results too: not all of them are ever asked for."""

    def set_result(self, result: Outcome, /) -> None: ...

    def done(self) -> bool: ...


Future = TypeVar("Future", bound=Outcomes)


@dataclass(frozen=True, slots=True)
class Waiting(Generic[Future]):
    """An image of a stream. `expected_bytes` is about what it will be when it is encoded."""

    image: ImageLike
    expected_bytes: int
    outcome: Future


class Line(Generic[Future]):
    """Images that wait for one of `workers`, each of which takes the next few at once. Threads may share it.

    Nobody waits for a group to fill: a worker that is free takes what is there, and while all are busy a group gathers.
    """

    def __init__(self, images_per_request: int, workers: int) -> None:
        self._most_images = images_per_request
        self._workers = workers
        self._working = 0
        self._waiting: deque[Waiting[Future]] = deque()
        self._lock = threading.Lock()

    def put(self, waiting: Waiting[Future]) -> bool:
        """Add an image. True where one more worker is to be started."""
        with self._lock:
            self._waiting.append(waiting)
            starts = self._working < self._workers
            self._working += starts
            return starts

    def take(self) -> list[Waiting[Future]]:
        """The images for a worker's next request; none where nothing waits and the worker is to end."""
        with self._lock:
            if not self._waiting:
                self._working -= 1
                return []
            taken = [self._waiting.popleft()]
            size = taken[0].expected_bytes
            while self._waiting and len(taken) < self._most_images:
                size += self._waiting[0].expected_bytes
                if size > REQUEST_BYTES:
                    break
                taken.append(self._waiting.popleft())
            return taken

    def refused(self, images: int) -> None:
        """So many were too large a group for the server; the next ones are at most half of it."""
        with self._lock:
            self._most_images = min(self._most_images, max(1, images // 2))

    def clear(self) -> None:
        """Forget who waits, so that the workers end."""
        with self._lock:
            self._waiting.clear()


class Progress:
    """Counts `images` on a line of stderr that rewrites itself; silent where that is no terminal.

    Where their number is known it shows a bar, the total and the time that is left.
    """

    def __init__(self, images: object, wanted: bool) -> None:
        self._stream: TextIO = sys.stderr
        self._wanted = wanted and self._stream.isatty()
        self._total = count_of(images) if self._wanted else None
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
        of_all, left = f"{self._done} images", ""
        if self._total:
            filled = _BAR_WIDTH * min(self._done, self._total) // self._total
            of_all = f"[{'#' * filled:-<{_BAR_WIDTH}}] {self._done} of {self._total} images"
            left = f", {_duration(max(0, self._total - self._done) / max(rate, 1e-9))} left"
        self._stream.write(f"\r{of_all}{failed}, {rate:.0f}/s{left}\x1b[K")
        self._stream.flush()


def _duration(seconds: float) -> str:
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_970 else f"{seconds / 3600:.0f} h"


def check(concurrency: int, max_connections: int, images_per_request: int, on_error: str) -> None:
    """Raise ValueError for arguments that cannot work."""
    if not 1 <= concurrency <= max_connections:
        raise ValueError(f"concurrency must be from 1 to max_connections={max_connections}, not {concurrency}")
    if images_per_request < 1:
        raise ValueError(f"images_per_request must be 1 or more, not {images_per_request}")
    if on_error not in ("return", "raise"):
        raise ValueError(f"on_error must be 'return' or 'raise', not {on_error!r}")


def passed(image: ImageLike, outcome: Outcome, on_error: OnError, progress: Progress) -> Answered:
    """Count an answer and let it through, unless it is an error and errors are to be raised, or one of FATAL."""
    if isinstance(outcome, BaseException) and not isinstance(outcome, ClientError):
        raise outcome
    if isinstance(outcome, FATAL):
        raise outcome
    progress.count(failed=isinstance(outcome, ClientError))
    if isinstance(outcome, ClientError) and on_error == "raise":
        if isinstance(image, str | os.PathLike):
            outcome.add_note(f"image: {os.fspath(image)}")
        raise outcome
    return Answered(image, outcome)


def encode_each(group: Iterable[Waiting[Future]]) -> list[bytes | Exception]:
    """What each image is sent as, or why it cannot be."""
    return [_encoded_or_error(waiting.image) for waiting in group]


def sendable(group: Sequence[Waiting[Future]], bodies: Sequence[bytes | Exception]) -> tuple[list[Future], list[bytes]]:
    """Those of a group that have a body. The others have their outcome now."""
    futures, sent = [], []
    for waiting, body in zip(group, bodies, strict=True):
        if isinstance(body, bytes):
            futures.append(waiting.outcome)
            sent.append(body)
        else:
            waiting.outcome.set_result(body)
    return futures, sent


def own_errors(error: BaseException, images: int) -> list[Outcome]:
    """The failure of a whole group as one error for each image. What is noted on one is not on all."""
    if not isinstance(error, ClientError):  # it ends the stream at the first of them
        return [error] * images
    own = [copy(error).with_traceback(error.__traceback__) for _ in range(images)]
    for each in own:
        each.__cause__ = error.__cause__
    return [*own]


def _encoded_or_error(image: ImageLike) -> bytes | Exception:
    try:
        return encoded(image)
    except Exception as error:
        return error
