"""Networks that are coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from service.inference.batching import RunningBatch

Item = TypeVar("Item")
Row = TypeVar("Row")


def batches_of(
    forward: Callable[[list[Item]], Coroutine[Any, Any, list[Row]]],
) -> Callable[[list[Item]], RunningBatch[Row]]:
    """What a `Batcher` takes: it starts the coroutine in the running loop, as an engine starts threads."""

    def start(items: list[Item]) -> RunningBatch[Row]:
        running = asyncio.run_coroutine_threadsafe(forward(items), asyncio.get_running_loop())
        return RunningBatch(running, lambda rows: rows)

    return start
