"""Write docs/reproduction.md from the records that `fit --record` left, and from nothing else.

The same records give the same bytes. The learning curves are drawn anew from each history.csv.
"""
# ruff: noqa: T201  (a command prints)

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write the comparison with the articles from the records of runs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    records, out = Path("docs/runs"), Path("docs/reproduction.md")
    parser.add_argument("--records", type=Path, default=records, help=f"what fit --record wrote (default: {records})")
    parser.add_argument("--out", type=Path, default=out, help=f"default: {out}")


def run(options: argparse.Namespace) -> int:
    from training.reports.reproduction import write_report  # here: Matplotlib takes a second

    print(write_report(options.records, options.out))
    return 0
