"""Write a report from the records that `fit --record` left, and from nothing else.

Records of the articles' own data are compared with the articles, those of your own data are set side by side. The same
records give the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from classifier.commands.parameters import path
from training.target import REPORT

OF_ARTICLES, OWN = Path("docs/runs"), Path("runs/records")


def run(
    records: Annotated[
        Path | None,
        typer.Option(parser=path, metavar="DIR", help="What `fit --record` wrote; else docs/runs or runs/records."),
    ] = None,
    out: Annotated[Path | None, typer.Option(parser=path, metavar="FILE", help="The report; else beside DIR.")] = None,
) -> None:
    from training.reports.own_runs import OWN_REPORT, are_own, write_own_report
    from training.reports.reproduction import write_report  # here: Matplotlib takes a second

    records = records or (OWN if OWN.is_dir() and not OF_ARTICLES.is_dir() else OF_ARTICLES)
    if are_own(records):
        print(write_own_report(records, out or records.parent / OWN_REPORT))
    else:
        print(write_report(records, out or records.parent / REPORT))
