"""The decode processes of a job, and what becomes of images when one dies."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial

from classifier.card import InputSpec
from classifier.engines.processors import usable_processors
from classifier.scoring import decoding
from classifier.scoring.decoding import Decoded, Order
from classifier.scoring.sources import Reader

AHEAD = 3  # chunks for each process, the one that it works on among them


class Decoders:
    """So many processes that decode to one network's input; 0 is one for each processor."""

    def __init__(self, read: Reader, spec: InputSpec, processes: int = 0) -> None:
        self._processes = processes or usable_processors()
        self._decode = partial(decoding.decode, read, spec)
        self._decode_apart = partial(decoding.decode_apart, read, spec)
        self._pool = self._started()

    @property
    def ahead(self) -> int:
        """How many chunks are worth starting before the first is waited for."""
        return AHEAD * self._processes

    def submit(self, orders: Sequence[Order]) -> Future[Decoded]:
        try:
            return self._pool.submit(self._decode, orders)
        except BrokenProcessPool:
            self._pool = self._started()
            return self._pool.submit(self._decode, orders)

    def result(self, orders: Sequence[Order], decoded: Future[Decoded]) -> Decoded:
        """Wait for a chunk. Where a process has died, its images are decoded in one that has limits on everything."""
        try:
            return decoded.result()
        except BrokenProcessPool:
            return self._decode_apart(orders)

    def __enter__(self) -> Decoders:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _started(self) -> ProcessPoolExecutor:
        # Not forked: the engine's threads may hold locks, which a fork would keep for ever.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self._processes, context, initializer=decoding.begin)
