"""How fast a loaded engine is on this machine, and with how large batches: measured in a fraction of a second."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from classifier.engines.engine import Engine
from classifier.engines.processors import usable_processors
from classifier.errors import OutOfMemory

SIZES = (1, 2, 4, 8, 16, 32)
SIZES_ON_A_GPU = (*SIZES, 64)
BUDGET_S, BUDGET_ON_A_GPU_S = 0.15, 1.0

# What a server spends on a batch besides running it, whatever its size.
BATCH_COST_S = 0.8e-3  # docs/tuning.md#cost-of-a-batch

_GOOD = 0.95  # of the best images/s; a smaller batch answers sooner and needs less memory


class Throughput(NamedTuple):
    """The batch size that pays, and the images/s of all streams together at that size."""

    max_batch: int
    images_per_s: float


def measure(engine: Engine, shape: tuple[int, int, int], most: int | None = None) -> Throughput:
    """The smallest batch within 5 % of the best images/s, with as many batches in flight as the engine has streams.

    `shape` is of one image: height, width, channels. No batch of more than `most` images is run, where that is given.
    Afterwards the engine has the kernels of every size that was run, but no memory for a batch: the first that comes
    takes it. Takes `BUDGET_S` on an idle CPU.
    """
    on_gpu = engine.name != "openvino" and engine.device != "CPU"
    all_sizes, budget_s = (SIZES_ON_A_GPU, BUDGET_ON_A_GPU_S) if on_gpu else (SIZES, BUDGET_S)
    sizes = [size for size in all_sizes if most is None or size <= most]
    pixels_u8 = np.zeros((max(sizes), *shape), np.uint8)
    # OpenVINO's streams share all processors. So the process's own processor time ranks sizes as wall time does, but
    # does not grow while other programs run: docs/tuning.md#bucket-sizes
    processors = usable_processors()
    has_all = engine.name == "openvino"
    clock, budget_s = (time.process_time, budget_s * processors) if has_all else (time.perf_counter, budget_s)

    def seconds(size: int) -> float:
        began = clock()
        for answer in [engine.submit(pixels_u8[:size]) for _ in range(engine.streams)]:
            answer.result()
        return clock() - began + engine.streams * BATCH_COST_S

    if engine.name == "jax":  # compiles each size, which takes longer than the budget
        sizes = list(itertools.takewhile(partial(_runs, seconds), sizes)) or sizes[:1]
    size, size_per_s = best_batch(seconds, sizes, budget_s, clock)
    engine.release_memory()  # a batch that comes takes its part anew; docs/tuning.md#memory-of-the-worker
    # Processor time of all streams is their wall time as often as there are streams on processors of their own.
    return Throughput(size, size_per_s * engine.streams * (processors if has_all else 1))


def _runs(seconds: Callable[[int], float], size: int) -> bool:
    """Whether there is memory for batches of this size."""
    try:
        seconds(size)
    except OutOfMemory:
        return False
    return True


def best_batch(
    seconds: Callable[[int], float],
    sizes: Sequence[int],
    budget_s: float,
    clock: Callable[[], float],
) -> Throughput:
    """The smallest of `sizes` within 5 % of the best images/s; `sizes` ascend.

    `seconds(size)` runs batches of this size and says how long they took. Of several rounds over all sizes the
    shortest time counts, because interruptions only ever add to it. Sizes that do not fit the budget, or the memory,
    are not tried.
    """
    began = clock()
    tried = _affordable(seconds, sizes, budget_s, clock)
    shortest = dict.fromkeys(tried, math.inf)
    round_s = 0.0
    while len(tried) > 1 and (math.inf in shortest.values() or clock() - began + round_s <= budget_s):
        round_began = clock()
        for size in tried:
            shortest[size] = min(shortest[size], seconds(size))
        round_s = clock() - round_began
    speeds = {size: size / max(shortest[size], 1e-9) for size in tried}
    best = min(size for size in tried if speeds[size] >= _GOOD * max(speeds.values()))
    return Throughput(best, speeds[best])


def _affordable(
    seconds: Callable[[int], float], sizes: Sequence[int], budget_s: float, clock: Callable[[], float]
) -> list[int]:
    """Run each size once, while a third of the budget lasts: untimed, for an engine prepares itself for a new size.

    The smallest size is always among them, and the first three while the whole budget lasts.
    """
    began, tried = clock(), [sizes[0]]
    before = began
    seconds(sizes[0])
    for size in sizes[1:]:
        now = clock()
        expected_s = 2 * (now - before)
        if now - began + expected_s > (budget_s if len(tried) < 3 else budget_s / 3):
            break
        before = now
        try:
            seconds(size)
        except OutOfMemory:
            break
        tried.append(size)
    return tried
