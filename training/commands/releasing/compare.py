"""Compare two versions on the same images, as they are served: accuracy, classes, calibration, time and memory.

The first is the new one. Images that either was fitted or chosen on are left out. Where labels differ, the common ones
are compared.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from classifier.commands.parameters import Json, Model, Models, Reference, model_names, path, reference
from training.commands.parameters import Data, SplitName


def run(
    candidate: Model,
    baseline: Annotated[
        Reference,
        typer.Argument(
            parser=reference,
            metavar="MODEL[@VERSION]",
            help="The version to compare it with.",
            autocompletion=model_names,
        ),
    ],
    data: Data,
    models: Models,
    split: SplitName = "test",
    html: Annotated[
        Path | None, typer.Option(parser=path, metavar="FILE", help="Write one page with everything.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(parser=path, metavar="PNG", help="Draw the images that only one gets right.")
    ] = None,
    json: Json = False,
) -> None:
    from classifier.store import ModelStore
    from training.evaluation.comparison.compare import compare
    from training.fitting.backend import import_tensorflow_to_answer
    from training.progress import ProgressLines
    from training.reports.comparison.page import write_page
    from training.reports.comparison.sheet import write_sheet
    from training.reports.comparison.text import lines

    store = ModelStore(models)
    cards = store.card(*candidate), store.card(*baseline)
    if cards[0] == cards[1]:
        raise typer.BadParameter(f"{cards[0].name} version {cards[0].version} is named twice; name another version")
    import_tensorflow_to_answer()
    progress = ProgressLines(sys.stderr)  # stdout holds the figures alone
    compared = compare(store, *cards, data, split, with_memory=True, progress=progress)
    written = [html] if html else []
    if html:
        write_page(compared, html)
    if sheet and write_sheet(compared, sheet):
        written.append(sheet)
    if json:
        print(compared.record.model_dump_json(indent=2))
        return
    print("\n".join(lines(compared.record)))
    for file in written:
        print(f"saved {file}")
    if sheet and sheet not in written:
        print("no image is right for only one of them; no sheet is drawn")
