"""A job: images in, a table out.

names -> parts of 4,096 -> chunks of 32 -> rows, by the pipeline of this machine or of a cluster's -> a part on the disk
-> the table.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count, groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from classifier import store
from classifier.loaded_model import LoadedModel
from classifier.scoring.decoders import Decoders
from classifier.scoring.decoding import Order
from classifier.scoring.on_ray import Cluster, scored_on_ray
from classifier.scoring.parts import Job, Marks, Part, Parts
from classifier.scoring.pipeline import Chunk, Pipeline, Scored
from classifier.scoring.progress import Progress
from classifier.scoring.rows import Columns, format_of, shown_name
from classifier.scoring.shards import WHOLE, Shard
from classifier.scoring.sources import Item, Source, UnusableInput

PART_ROWS = 4_096  # as much is done again at most after a kill
CHUNK_IMAGES = 32  # docs/tuning.md#chunks-of-bulk-scoring

Scorer = Callable[[Iterable[Chunk]], Iterator[Scored]]


class Finished(NamedTuple):
    """`rows` are those of the whole table, of which `failed` have an error; `new` were scored by this run."""

    rows: int
    failed: int
    new: int


@dataclass(frozen=True)
class Scoring:
    """What a job does. `text` is the input as it was typed; 0 `processes` are one for each processor.

    With a `cluster` its machines decode and classify. This one names the images and writes the table.
    """

    source: Source
    text: str
    out: Path
    shard: Shard = WHOLE
    processes: int = 0
    cluster: Cluster | None = None
    part_rows: int = PART_ROWS
    report: Callable[[Progress], None] = lambda progress: None


def score(loaded: LoadedModel, job: Scoring) -> Finished:
    """Score every image of the job's source into its table, or go on with a job that was killed.

    Where the table is whole already, nothing is done. Raises UnusableInput, UnusableOutput, UnusableCluster and
    OSError.
    """
    kind = format_of(job.out)
    with closing(Parts(job.out, kind, _about(loaded, job))) as parts:
        if whole := parts.whole:
            return Finished(whole["rows"], whole["failed"], 0)
        with _scorer(loaded, job) as scorer:
            return _Run(job, parts, scorer).finished()


@contextmanager
def _scorer(loaded: LoadedModel, job: Scoring) -> Iterator[Scorer]:
    """What makes rows of chunks."""
    if job.cluster is not None:
        with scored_on_ray(loaded, job.source.read, job.cluster, job.processes) as scored:
            yield scored
    else:
        with Decoders(job.source.read, loaded.card.input, job.processes) as decoders:
            yield Pipeline(loaded, decoders).scored


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


class _Run:
    """One process's work on a job."""

    def __init__(self, job: Scoring, parts: Parts, scorer: Scorer) -> None:
        self._job = job
        self._parts = parts
        self._scorer = scorer
        self._began = time.monotonic()
        total = job.source.count()
        self._total = None if total is None else job.shard.share(total)
        self._done = self._new = 0

    def finished(self) -> Finished:
        for number, of_part in groupby(self._counted(self._scorer(self._chunks())), attrgetter("part")):
            self._save(number, [one.columns for one in of_part])
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

    def _chunks(self) -> Iterator[Chunk]:
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
                    yield Chunk(number, orders)
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

    def _counted(self, several: Iterable[Scored]) -> Iterator[Scored]:
        for one in several:
            rows = len(one.columns["path"])
            self._done += rows
            self._new += rows
            self._say()
            yield one

    def _say(self) -> None:
        self._job.report(Progress(self._done, self._new, self._total, time.monotonic() - self._began))


def _order(item: Item) -> Order:
    if item.load is None:
        return Order(item.name)
    try:
        return Order(item.name, item.load())
    except OSError as error:
        return Order(item.name, fault=str(error))
