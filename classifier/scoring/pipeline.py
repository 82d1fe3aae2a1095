"""From chunks of images to rows on one machine: decode processes, and the engine behind them.

A bounded number of chunks is under way at once. So memory does not grow with the number of images.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from itertools import starmap
from typing import NamedTuple

import numpy as np

from classifier.engines import Answers
from classifier.errors import OutOfMemory
from classifier.images import Pixels
from classifier.loaded_model import LoadedModel
from classifier.scoring.decoders import Decoders
from classifier.scoring.decoding import Decoded, Order
from classifier.scoring.rows import Columns, Shown, columns_of, joined


class Chunk(NamedTuple):
    """Images that are decoded and classified together. `part` is the place of the part that they belong to."""

    part: int
    orders: list[Order]


class Scored(NamedTuple):
    """The rows of a chunk."""

    part: int
    columns: Columns


class Pipeline:
    """Decodes in processes that run ahead of the network."""

    def __init__(self, loaded: LoadedModel, decoders: Decoders) -> None:
        self._loaded = loaded
        self._decoders = decoders
        engine = loaded.engine
        self._shown = Shown(loaded.card.name, loaded.card.version, engine.name, engine.precision)

    def scored(self, chunks: Iterable[Chunk]) -> Iterator[Scored]:
        """The rows of each chunk in turn."""
        decoding: deque[tuple[Chunk, Future[Decoded]]] = deque()
        inferring: deque[_Inferring] = deque()
        for chunk in chunks:
            decoding.append((chunk, self._decoders.submit(chunk.orders)))
            if len(decoding) >= self._decoders.ahead:
                inferring.append(self._infer(*decoding.popleft()))
            if len(inferring) > self._loaded.engine.max_in_flight:
                yield self._answered(inferring.popleft())
        inferring.extend(starmap(self._infer, decoding))
        yield from map(self._answered, inferring)

    def _infer(self, chunk: Chunk, decoding: Future[Decoded]) -> _Inferring:
        decoded = self._decoders.result(chunk.orders, decoding)
        started = self._loaded.engine.submit(decoded.pixels) if len(decoded.pixels) else None
        return _Inferring(chunk.part, decoded, started)

    def _answered(self, one: _Inferring) -> Scored:
        answers = None if one.started is None else self._answers(one.decoded.pixels, one.started)
        return Scored(one.part, columns_of(self._loaded.card, self._shown, one.decoded.sights, answers))

    def _answers(self, pixels: Pixels, started: Future[Answers]) -> Answers:
        try:
            return started.result()
        except OutOfMemory:
            if len(pixels) == 1:
                raise
            return joined([self._loaded.engine.answer(half) for half in np.array_split(pixels, 2)])


class _Inferring(NamedTuple):
    """Decoded images whose answers are under way; `started` is None where none could be decoded."""

    part: int
    decoded: Decoded
    started: Future[Answers] | None
