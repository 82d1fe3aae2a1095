"""What a model version has done since it was loaded, counted as Triton's statistics extension counts.

Every image is an entry of its own in the queue. So it is a request of its own here, whichever route it came by. The
sample that proves a version before it is served is the first. Belongs to the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class BatchTimes(NamedTuple):
    """Nanoseconds of one forward pass. `decode_ns` and `queue_ns` are of each image, the others of the whole batch."""

    decode_ns: Sequence[int]
    queue_ns: Sequence[int]
    stack_ns: int
    infer_ns: int
    output_ns: int


@dataclass
class Spent:
    """How often something was done, and the time it took in all."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int, count: int = 1) -> None:
        self.ns += ns
        self.count += count

    def as_json(self) -> dict[str, int]:
        return {"count": self.count, "ns": self.ns}


@dataclass
class Steps:
    """The three parts of a forward pass."""

    compute_input: Spent = field(default_factory=Spent)
    compute_infer: Spent = field(default_factory=Spent)
    compute_output: Spent = field(default_factory=Spent)

    def as_json(self) -> dict[str, Any]:
        return {name: spent.as_json() for name, spent in vars(self).items()}


class Image:
    """The time of one image, from its admission to its answer."""

    __slots__ = ("_began_ns", "_statistics")

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics

    def __enter__(self) -> None:
        self._began_ns = time.perf_counter_ns()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._statistics.done(self._began_ns, error)


@dataclass
class Statistics:
    """Counts of images and of forward passes, and where the time went.

    `success` and `fail` last from an image's admission to its answer; `steps.compute_input` is decoding and collecting
    the batch. As in Triton, every image of a batch is charged the batch's whole time.
    """

    success: Spent = field(default_factory=Spent)
    fail: Spent = field(default_factory=Spent)
    queue: Spent = field(default_factory=Spent)
    steps: Steps = field(default_factory=Steps)
    by_batch_size: dict[int, Steps] = field(default_factory=dict)
    executions: int = 0
    last_inference_ms: int = 0  # since the epoch
    watch: Callable[[int, BaseException | None], None] | None = None  # gets the time of each image, and its error

    def image(self) -> Image:
        """A block that works on one image: it is counted as answered or as failed."""
        return Image(self)

    def done(self, began_ns: int, error: BaseException | None) -> None:
        """Count an image that was begun at this time of `time.perf_counter_ns`."""
        took_ns = time.perf_counter_ns() - began_ns
        (self.success if error is None else self.fail).add(took_ns)
        if self.watch is not None:
            self.watch(took_ns, error)

    def settled(self, began_ns: int, row: asyncio.Future[Any]) -> None:
        """Count an image whose row, or error, is there."""
        self.done(began_ns, asyncio.CancelledError() if row.cancelled() else row.exception())

    def refused(self, images: int) -> None:
        """Count images that were not admitted."""
        self.fail.add(0, images)

    def ran(self, times: BatchTimes) -> None:
        """Count a forward pass that answered."""
        images = len(times.queue_ns)
        self.executions += 1
        self.last_inference_ms = time.time_ns() // 1_000_000
        self.queue.add(sum(times.queue_ns), images)
        self.steps.compute_input.add(sum(times.decode_ns) + images * times.stack_ns, images)
        self.steps.compute_infer.add(images * times.infer_ns, images)
        self.steps.compute_output.add(images * times.output_ns, images)
        batch = self.by_batch_size.setdefault(images, Steps())
        batch.compute_input.add(times.stack_ns)
        batch.compute_infer.add(times.infer_ns)
        batch.compute_output.add(times.output_ns)

    def as_json(self, name: str, version: int) -> dict[str, Any]:
        """One entry of `model_stats`."""
        whole = {"success": self.success, "fail": self.fail, "queue": self.queue}
        cache = {"cache_hit": Spent().as_json(), "cache_miss": Spent().as_json()}
        return {
            "name": name,
            "version": str(version),
            "last_inference": self.last_inference_ms,
            "inference_count": self.steps.compute_infer.count,
            "execution_count": self.executions,
            "inference_stats": {n: spent.as_json() for n, spent in whole.items()} | self.steps.as_json() | cache,
            "batch_stats": [{"batch_size": n, **self.by_batch_size[n].as_json()} for n in sorted(self.by_batch_size)],
            "memory_usage": [],
        }
