"""Write the comparison with the articles from the records that `fit --record` left, and from nothing else.

The same records give the same bytes. The learning curves are drawn anew from each history.csv.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from classifier.commands.parameters import path
from training.target import REPORT


def run(
    records: Annotated[Path, typer.Option(parser=path, metavar="DIR", help="What `fit --record` wrote.")] = Path(
        "docs/runs"
    ),
    out: Annotated[
        Path | None, typer.Option(parser=path, metavar="FILE", help="The report; else reproduction.md beside DIR.")
    ] = None,
) -> None:
    from training.reports.reproduction import write_report  # here: Matplotlib takes a second

    print(write_report(records, out or records.parent / REPORT))
