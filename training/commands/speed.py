"""Time how many images a second versions answer on this machine, taking turns.

The engine alone is timed, in batches as the server makes them, with random pixels: not decoding, and not HTTP.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from classifier.commands.parameters import path, whole_number
from training.evaluation.json_records import write_record
from training.evaluation.speed import SPEED, measure


def run(
    versions: Annotated[
        list[Path], typer.Argument(parser=path, metavar="FOLDER", help="Versions, as models/cats-vs-dogs/1.")
    ],
    rounds: Annotated[int, typer.Option(parser=whole_number(1), metavar="N", help="Turns of each version.")] = 5,
    seconds: Annotated[float, typer.Option(metavar="S", help="Length of a turn.")] = 3.0,
    out: Annotated[Path, typer.Option(parser=path, metavar="FILE", help="The record.")] = Path("runs") / SPEED,
) -> None:
    record = measure(versions, rounds, seconds)
    write_record(record, out)
    for version in record.versions:
        print(f"{version.model} {version.version}, {version.recipe}: {version.images_per_second:,.0f} images/s")
    print(f"saved {out}")
