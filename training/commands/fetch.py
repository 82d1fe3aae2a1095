"""Download a data set from its public source, checked by SHA-256."""
# ruff: noqa: T201  (a command prints)

from __future__ import annotations

import argparse
from pathlib import Path

from training.datasets.fetch import SOURCES, fetch

HELP = "download a data set from its public source"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", choices=sorted(SOURCES))
    parser.add_argument("--to", type=Path, default=Path("data"), help="folder to put it in (default: data)")


def run(options: argparse.Namespace) -> int:
    print(fetch(options.name, options.to))
    return 0
