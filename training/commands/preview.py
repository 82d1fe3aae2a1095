"""Draw augmented training images, as the network will be fed, and say what the fit will do.

Nine times one image, as the articles show it; for Sign Language MNIST one batch of 32. Where `fit` would leave the flip
out, since a flipped image belongs to another class, this draws no flipped images either.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from classifier.commands.parameters import path
from training.commands.parameters import AugmentOption, Data, DropConflicts, Limit, RecipeName, Runs, check_tensorflow


def run(
    recipe: RecipeName,
    data: Data,
    limit: Limit = None,
    augment: AugmentOption = None,
    drop_conflicts: DropConflicts = False,
    out: Annotated[Path, typer.Option(parser=path, metavar="PNG", help="Where to draw them.")] = Path("preview.png"),
    seed: Annotated[int, typer.Option(metavar="N", help="Another image, otherwise augmented.")] = 0,
    runs: Runs = Path("runs"),
) -> None:
    from classifier.images import encode_png
    from training.datasets import Folders, load_dataset
    from training.fitting.backend import import_tensorflow
    from training.fitting.options import FitOptions
    from training.progress import ProgressLines
    from training.recipes import recipe_named
    from training.reports.findings import findings

    check_tensorflow()
    chosen = recipe_named(recipe).with_augmentation(augment or {})
    folders, progress = Folders(drop_conflicts=drop_conflicts), ProgressLines(sys.stdout)
    dataset = load_dataset(data, chosen.reader, chosen.input, limit=limit, folders=folders, progress=progress)
    print("\n".join(findings(dataset, runs / f"{dataset.name}.left-out.txt")), flush=True)
    import_tensorflow()
    from training.preview import as_fitted, intentions, preview

    asked = bool(augment and "horizontal_flip" in augment)
    flip: Literal["auto", "as asked"] = "as asked" if asked else "auto"
    options = FitOptions(dataset.name, runs / dataset.name, progress=progress, flip=flip)
    fitted = as_fitted(chosen, dataset, options)
    picture = preview(fitted, dataset.splits["train"], seed)
    print("\n".join(intentions(chosen, fitted, dataset)))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(encode_png(picture))
    print(out)
