"""Classify any number of images into a table, in parts that outlive a killed process."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from classifier.commands.parameters import (
    EngineName,
    Models,
    PrecisionName,
    Reference,
    model_names,
    path,
    reference,
    whole_number,
)
from classifier.scoring.shards import WHOLE, Shard
from classifier.store import ModelStore

if TYPE_CHECKING:
    from classifier.scoring.score import Progress

EVERY_S = 10.0  # between lines, where there is no terminal


def shard_of(text: object) -> Shard:
    """Read I/N. Raises BadParameter."""
    number, slash, of = str(text).partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise typer.BadParameter(f"expected I/N, as 2/8 for the second of eight, got {str(text)!r}")
    return Shard(int(number), int(of))


def run(
    source: Annotated[
        str,
        typer.Argument(metavar="INPUT", help="A folder, a list of paths (- for stdin), a zip, a tar, s3:// or gs://."),
    ],
    model: Annotated[
        Reference,
        typer.Option(
            parser=reference, metavar="MODEL[@VERSION]", help="No version: the newest.", autocompletion=model_names
        ),
    ],
    out: Annotated[Path, typer.Option(parser=path, metavar="TABLE", help="The table: .csv or .parquet.")],
    models: Models,
    shard: Annotated[
        Shard, typer.Option(parser=shard_of, metavar="I/N", help="Only the I-th of N shares of the images.")
    ] = WHOLE,
    processes: Annotated[
        int | None, typer.Option(parser=whole_number(1), metavar="N", help="That decode (one per processor).")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew, and drop what is there.")] = False,
    engine: EngineName = "auto",
    precision: PrecisionName = "auto",
) -> None:
    from classifier.engines import EngineOptions
    from classifier.loaded_model import LoadedModel
    from classifier.scoring.parts import remove
    from classifier.scoring.rows import format_of
    from classifier.scoring.score import Scoring, score
    from classifier.scoring.sources import source_of

    images = source_of(source)
    format_of(out)
    if restart:
        remove(out)
    options = EngineOptions(engine=engine, precision=precision)
    with contextlib.closing(LoadedModel.open(ModelStore(models), *model, options)) as loaded:
        line = Line(sys.stderr)
        job = Scoring(images, source, out, shard, processes or 0, report=line)
        finished = score(loaded, job)
    line.end()
    new = f"{finished.new:,} of them now" if finished.new else "all of them before"
    failed = f", {finished.failed:,} with an error" if finished.failed else ""
    print(f"{out}: {finished.rows:,} images{failed}; {new}")


class Line:
    """How far a job is: one line that changes on a terminal, and a new one every ten seconds elsewhere."""

    def __init__(self, to: TextIO) -> None:
        self._to = to
        self._moves = to.isatty()
        self._every_s = 0.2 if self._moves else EVERY_S
        self._said = time.monotonic()
        self._is_open = False

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._said < self._every_s:
            return
        self._said = now
        text = described(progress)
        self._to.write(f"\r\x1b[K{text}" if self._moves else f"{text}\n")
        self._to.flush()
        self._is_open = self._moves

    def end(self) -> None:
        if self._is_open:
            self._to.write("\r\x1b[K")


def described(progress: Progress) -> str:
    """As `3,400 of 20,000 images, 812/s, 20 s left`."""
    rate = progress.new / progress.seconds if progress.seconds else 0.0
    total = "" if progress.total is None else f" of {progress.total:,}"
    text = f"{progress.done:,}{total} images, {rate:,.0f}/s"
    if progress.total is None or not rate:
        return text
    return f"{text}, {_time((progress.total - progress.done) / rate)} left"


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3600:.1f} h"
