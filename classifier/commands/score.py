"""Classify any number of images into a table, in parts that outlive a killed process."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

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
from classifier.scoring.progress import ProgressLine
from classifier.scoring.shards import WHOLE, Shard
from classifier.store import ModelStore


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
    ray: Annotated[
        str | None,
        typer.Option("--ray", metavar="ADDRESS", help="Work on a Ray cluster: auto, HOST:PORT or local."),
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew, and drop what is there.")] = False,
    engine: EngineName = "auto",
    precision: PrecisionName = "auto",
) -> None:
    from classifier.engines import EngineOptions
    from classifier.loaded_model import LoadedModel
    from classifier.scoring.on_ray import Cluster
    from classifier.scoring.parts import remove
    from classifier.scoring.rows import format_of
    from classifier.scoring.score import Scoring, score
    from classifier.scoring.sources import source_of

    images = source_of(source)
    format_of(out)
    if restart:
        remove(out)
    options, store = EngineOptions(engine=engine, precision=precision), ModelStore(models)
    with contextlib.closing(LoadedModel.open(store, *model, options)) as loaded:
        line = ProgressLine(sys.stderr)
        cluster = Cluster(ray, store) if ray else None
        job = Scoring(images, source, out, shard, processes or 0, cluster, report=line)
        finished = score(loaded, job)
    line.end()
    new = f"{finished.new:,} of them now" if finished.new else "all of them before"
    failed = f", {finished.failed:,} with an error" if finished.failed else ""
    print(f"{out}: {finished.rows:,} images{failed}; {new}")
