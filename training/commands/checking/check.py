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
    fix: Annotated[
        Path | None, typer.Option(parser=path, metavar="CSV", help="Write what could be done, for you to edit.")
    ] = None,
    apply: Annotated[
        Path | None, typer.Option(parser=path, metavar="CSV", help="Make a cleaned copy by such a plan; see --out.")
    ] = None,
    out: Annotated[Path | None, typer.Option(parser=path, metavar="DIR", help="Where to make the copy.")] = None,
    features: Annotated[
        Literal["auto", "backbone", "simple", "none"],
        typer.Option(metavar="KIND", help="To judge labels by: auto, backbone, simple; none is quick."),
    ] = "auto",
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 where splits leak or labels contradict.")
    ] = False,
    json: Json = False,
) -> int:
    if apply or out:
        return _cleaned(data, apply, out)
    from training.checking.check import check
    from training.checking.plan import plan, write_plan
    from training.datasets import open_listing
    from training.progress import ProgressLines
    from training.reports.checking.page import write_page
    from training.reports.checking.text import as_json, lines

    with open_listing(data) as listing:
        checked = check(listing, ProgressLines(sys.stderr), features)
        if html:
            write_page(checked, listing, html)
    print(as_json(checked) if json else "\n".join(lines(checked)))
    if fix:
        write_plan(plan(checked), fix)
    if not json and (saved := [file for file in (html, fix) if file]):
        print("\n" + "\n".join(f"saved {file}" for file in saved))
    return 1 if strict and not checked.is_strictly_sound else 0


def _cleaned(data: Path, plan: Path | None, out: Path | None) -> int:
    """Make a cleaned copy, and say what is in it."""
    from training.checking.cleaning import clean
    from training.checking.plan import read_plan
    from training.datasets import Folders, open_listing

    if plan is None or out is None:
        raise typer.BadParameter("--apply PLAN and --out DIR go together")
    steps = read_plan(plan)
    with open_listing(data, Folders()) as listing:
        done = clean(steps, data, listing, out)
    print(f"made {out}: {done.files:,} files; {done.dropped:,} dropped, {done.moved:,} under another label or split")
    return 0
