"""Look for what is wrong with a data set before training on it: files, copies, leaks between splits, labels.

DATA is any folder or archive that `fit` reads. It is never written to.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from classifier.commands.parameters import Json, path


def run(
    data: Annotated[Path, typer.Argument(parser=path, metavar="DATA", help="Data set, or class folders.")],
    html: Annotated[
        Path | None, typer.Option(parser=path, metavar="FILE", help="Write one page with pictures of what was found.")
    ] = None,
    features: Annotated[
        Literal["auto", "backbone", "simple", "none"],
        typer.Option(metavar="KIND", help="To judge labels by: auto, backbone, simple; none is quick."),
    ] = "auto",
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 where splits leak or labels contradict.")
    ] = False,
    json: Json = False,
) -> int:
    from training.checking.check import check
    from training.datasets import open_listing
    from training.progress import ProgressLines
    from training.reports.checking.page import write_page
    from training.reports.checking.text import as_json, lines

    with open_listing(data) as listing:
        checked = check(listing, ProgressLines(sys.stderr), features)
        if html:
            write_page(checked, listing, html)
    print(as_json(checked) if json else "\n".join(lines(checked)))
    if html and not json:
        print(f"\nsaved {html}")
    return 1 if strict and not checked.is_strictly_sound else 0
