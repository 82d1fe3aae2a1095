"""Time how many images a second versions answer on this machine, taking turns, for the report.

The engine alone is timed, in batches as the server makes them, with random pixels: not decoding, and not HTTP.
"""
# ruff: noqa: T201  (a command prints)

from __future__ import annotations

import argparse
from pathlib import Path

from training.commands.arguments import positive
from training.evaluation.json_records import write_record
from training.evaluation.speed import SPEED, measure

HELP = "time how many images a second versions answer"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    out = Path("docs/runs") / SPEED
    parser.add_argument("versions", type=Path, nargs="+", metavar="FOLDER", help="as models/cats-vs-dogs/1")
    parser.add_argument("--rounds", type=positive, default=5, help="default: 5")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each version in each round (default: 3)")
    parser.add_argument("--out", type=Path, default=out, help=f"default: {out}")


def run(options: argparse.Namespace) -> int:
    record = measure(options.versions, options.rounds, options.seconds)
    write_record(record, options.out)
    for version in record.versions:
        print(f"{version.model} {version.version}, {version.recipe}: {version.images_per_second:,.0f} images/s")
    print(f"saved {options.out}")
    return 0
