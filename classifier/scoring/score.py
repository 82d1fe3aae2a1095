"""A job: images in, a table out.

names -> parts of 4,096 -> chunks of 32 -> decode processes -> the engine -> rows -> a part on the disk -> the table.
A bounded number of chunks is under way at once. So memory does not grow with the number of images.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from itertools import count, groupby, islice, starmap
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from classifier import store
from classifier.engines import Answers
from classifier.errors import OutOfMemory
from classifier.images import Pixels
from classifier.loaded_model import LoadedModel
from classifier.scoring.decoders import Decoders
from classifier.scoring.decoding import Decoded, Order
from classifier.scoring.parts import Job, Marks, Part, Parts
from classifier.scoring.progress import Progress
from classifier.scoring.rows import Columns, Shown, columns_of, format_of, joined, shown_name
from classifier.scoring.shards import WHOLE, Shard
from classifier.scoring.sources import Item, Source, UnusableInput

PART_ROWS = 4_096  # as much is done again at most after a kill
CHUNK_IMAGES = 32  # docs/tuning.md#chunks-of-bulk-scoring


class Finished(NamedTuple):
    """`rows` are those of the whole table, of which `failed` have an error; `new` were scored by this run."""

    rows: int
    failed: int
    new: int


@dataclass(frozen=True)
class Scoring:
    """What a job does. `text` is the input as it was typed; 0 `processes` are one for each processor."""

    source: Source
    text: str
    out: Path
    shard: Shard = WHOLE
    processes: int = 0
    part_rows: int = PART_ROWS
    report: Callable[[Progress], None] = lambda progress: None


def score(loaded: LoadedModel, job: Scoring) -> Finished:
    """Score every image of the job's source into its table, or go on with a job that was killed.

    Where the table is whole already, nothing is done. Raises UnusableInput, UnusableOutput and OSError.
    """
    kind = format_of(job.out)
    with closing(Parts(job.out, kind, _about(loaded, job))) as parts:
        if whole := parts.whole:
            return Finished(whole["rows"], whole["failed"], 0)
        with Decoders(job.source.read, loaded.card.input, job.processes) as decoders:
            return _Run(loaded, job, parts, decoders).finished()


def _about(loaded: LoadedModel, job: Scoring) -> Job:
    card, engine = loaded.card, loaded.engine
    return {
        "input": job.text,
        "shard": str(job.shard),
        "model": card.name,
        "version": card.version,
        "sha256": card.files[store.ONNX].sha256,
        "engine": engine.name,
        "precision": engine.precision,
        "part_rows": job.part_rows,
    }


class _Chunk(NamedTuple):
    """Images that are decoded and classified together. `part` is the place of the part that they belong to."""

    part: int
    orders: list[Order]


class _Run:
    """One process's work on a job."""

    def __init__(self, loaded: LoadedModel, job: Scoring, parts: Parts, decoders: Decoders) -> None:
        self._loaded = loaded
        self._job = job
        self._parts = parts
        self._decoders = decoders
        engine = loaded.engine
        self._shown = Shown(loaded.card.name, loaded.card.version, engine.name, engine.precision)
        self._began = time.monotonic()
        total = job.source.count()
        self._total = None if total is None else job.shard.share(total)
        self._done = self._new = 0

    def finished(self) -> Finished:
        for number, rows in groupby(self._rows(), itemgetter(0)):
            self._save(number, [columns for _, columns in rows])
        if not self._done:
            raise UnusableInput(f"{self._job.text} has no images, or none of this shard ({self._job.shard})")
        whole = self._parts.join()
        return Finished(whole["rows"], whole["failed"], self._new)

    def _save(self, number: int, several: Sequence[Columns]) -> None:
        columns = {name: [value for one in several for value in one[name]] for name in several[0]}
        marks = Marks()
        for path in columns["path"]:
            marks.add(path)
        failed = sum(code is not None for code in columns["error"])
        self._parts.save(Part(number, marks.names, failed, marks.mark()), columns)

    def _chunks(self) -> Iterator[_Chunk]:
        """Every image that is not in a part on the disk."""
        items, rows_of_part = self._job.shard.pick(self._job.source.items()), self._job.part_rows
        for number in count():
            of_part = islice(items, rows_of_part)
            found = self._parts.find(number)
            rows = 0
            if found is not None:
                rows = self._skipped(found, of_part)
            else:
                while orders := [_order(item) for item in islice(of_part, CHUNK_IMAGES)]:
                    rows += len(orders)
                    yield _Chunk(number, orders)
            if rows < rows_of_part:
                return

    def _skipped(self, part: Part, items: Iterable[Item]) -> int:
        marks = Marks()
        for item in items:
            marks.add(shown_name(item.name))
        self._parts.check(part, marks)
        self._done += marks.names
        self._say()
        return marks.names

    def _rows(self) -> Iterator[tuple[int, Columns]]:
        """Rows of each chunk in turn, with the place of their part. Decoding runs ahead of the network, in bounds."""
        decoding: deque[tuple[_Chunk, Future[Decoded]]] = deque()
        inferring: deque[_Inferring] = deque()
        for chunk in self._chunks():
            decoding.append((chunk, self._decoders.submit(chunk.orders)))
            if len(decoding) >= self._decoders.ahead:
                inferring.append(self._infer(*decoding.popleft()))
            if len(inferring) > self._loaded.engine.max_in_flight:
                yield self._answered(inferring.popleft())
        inferring.extend(starmap(self._infer, decoding))
        yield from map(self._answered, inferring)

    def _infer(self, chunk: _Chunk, decoding: Future[Decoded]) -> _Inferring:
        decoded = self._decoders.result(chunk.orders, decoding)
        started = self._loaded.engine.submit(decoded.pixels) if len(decoded.pixels) else None
        return _Inferring(chunk.part, decoded, started)

    def _answered(self, one: _Inferring) -> tuple[int, Columns]:
        answers = None if one.started is None else self._answers(one.decoded.pixels, one.started)
        sights = one.decoded.sights
        self._done += len(sights)
        self._new += len(sights)
        self._say()
        return one.part, columns_of(self._loaded.card, self._shown, sights, answers)

    def _answers(self, pixels: Pixels, started: Future[Answers]) -> Answers:
        try:
            return started.result()
        except OutOfMemory:
            if len(pixels) == 1:
                raise
            return joined([self._loaded.engine.answer(half) for half in np.array_split(pixels, 2)])

    def _say(self) -> None:
        self._job.report(Progress(self._done, self._new, self._total, time.monotonic() - self._began))


class _Inferring(NamedTuple):
    """Decoded images whose answers are under way; `started` is None where none could be decoded."""

    part: int
    decoded: Decoded
    started: Future[Answers] | None


def _order(item: Item) -> Order:
    if item.load is None:
        return Order(item.name)
    try:
        return Order(item.name, item.load())
    except OSError as error:
        return Order(item.name, fault=str(error))
