"""Shadow requests: another version is asked what a version was asked, to compare; nobody gets its answers."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from functools import partial

from classifier.errors import ImageError
from classifier.images import Pixels
from service.errors import DeadlinePassed, TryLater
from service.inference.classifier import Answer, Classifier
from service.inference.samples import SampleKeeper
from service.inference.timing import Classified
from service.metrics import ShadowMetrics

MOST_AT_ONCE = 16  # shadow requests of one mirror; one more is dropped
WITHIN_S = 5.0  # after which a shadow request that still waits is dropped


class Mirror:
    """Asks `shadow` a share, 0..1, of what `of` has answered, behind all other work, and notes how they agree.

    Requests that find `of` with more than a batch waiting are dropped first. `compared` is called with whether the
    most probable labels were the same, and `failed` with what the shadow failed with. The version on trial is the
    shadow, or with `tries_of` the one that has answered: the shadow says then what the other version would have.
    Pictures that they disagree about go to `samples`, where some are kept.
    """

    def __init__(
        self,
        of: Classifier,
        shadow: Classifier,
        share: float,
        metrics: ShadowMetrics,
        compared: Callable[[bool], None] = lambda _: None,
        failed: Callable[[BaseException], None] = lambda _: None,
        tries_of: bool = False,
        samples: SampleKeeper | None = None,
    ) -> None:
        self.of = of
        self.shadow = shadow
        self.share = share
        self._metrics = metrics
        self._compared = compared
        self._failed = failed
        self._tries_of = tries_of
        self._samples = samples
        self._takes_pixels = of.card.input == shadow.card.input
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, body: bytes | None, pixels: Pixels, row: asyncio.Future[Classified]) -> None:
        """Note a request that was queued: its file, if it was one, its decoded picture, and the row that is to come."""
        sent = pixels if self._takes_pixels else body
        if sent is None or random.random() >= self.share:  # noqa: S311 (nothing secret)
            return
        if self.shadow.reason or len(self._tasks) >= MOST_AT_ONCE or self.of.waiting > self.of.max_batch:
            self._metrics.dropped += 1
            return
        row.add_done_callback(partial(self._begin, body, pixels))

    def close(self) -> None:
        """Forget what is being asked."""
        for task in tuple(self._tasks):
            task.cancel()

    def _begin(self, body: bytes | None, pixels: Pixels, row: asyncio.Future[Classified]) -> None:
        if row.cancelled() or row.exception() is not None:
            return
        task = asyncio.get_running_loop().create_task(self._ask(body, pixels, row.result()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, body: bytes | None, pixels: Pixels, image: Classified) -> None:
        began = time.perf_counter()
        sent = pixels if self._takes_pixels or body is None else body
        try:
            theirs = await self.shadow.classify_behind(sent, asyncio.get_running_loop().time() + WITHIN_S)
        except (TryLater, DeadlinePassed, ImageError):
            self._metrics.dropped += 1
        except Exception as error:
            self._metrics.failed += 1
            self._failed(error)
        else:
            label, agreed = self._compare(image, theirs, time.perf_counter() - began)
            if self._samples is not None and not agreed:
                self._samples.offer(self.of.card, label, body, pixels)

    def _compare(self, image: Classified, theirs: Answer, took_s: float) -> tuple[str, bool]:
        label, other = self.of.card.labels[int(image.row.argmax())], self.shadow.card.labels[int(theirs.row.argmax())]
        change = float(theirs.row.max()) - float(image.row.max())
        familiarity = _difference(theirs.familiarity, image.familiarity)
        if self._tries_of:
            label, other, change, familiarity = (
                other,
                label,
                -change,
                _difference(image.familiarity, theirs.familiarity),
            )
        self._metrics.compared(label, label == other, change, took_s, familiarity)
        self._compared(label == other)
        return label, label == other


def _difference(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other
