"""Engines for tests that have to know when an answer comes."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

import numpy as np

from classifier.engines import Answers


class HeldEngine:
    """An engine whose answers come when the test says so."""

    name, precision, device, streams, max_in_flight = "openvino", "float32", "a fake", 1, 1
    infers_here = False
    one_stream = False

    def __init__(self) -> None:
        self.alone: list[bool] = []  # of each batch
        self.batches: asyncio.Queue[tuple[Any, Future[Any]]] = asyncio.Queue()

    def submit(self, pixels_u8: Any, *, alone: bool = False) -> Future[Any]:
        future: Future[Any] = Future()
        self.alone.append(alone)
        self.batches.put_nowait((pixels_u8, future))
        return future

    async def give(self, *row: float, familiarity: float | None = None) -> None:
        """Wait for a batch and give each of its images this row, and this familiarity where there is one."""
        pixels, future = await self.batches.get()
        scores = None if familiarity is None else np.full(len(pixels), familiarity, np.float32)
        future.set_result(Answers(np.array([row] * len(pixels), np.float32), scores))

    def close(self) -> None: ...
