"""Fit a recipe on ever more images of each class, and add each test accuracy to a file of points.

A point that is in the file is not fitted again; --resume goes on in the midst of a fit too. The fits are the recipe's,
but for the images and for an epoch's length, which is 16 batches at least.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from classifier.commands.parameters import Numbers, path, whole_numbers
from training.commands.parameters import Data, Epochs, FitPrecision, RecipeName, Runs, check_tensorflow, resumable
from training.evaluation.learning_curve import COUNTS
from training.evaluation.points import POINTS


def run(
    recipe: RecipeName,
    data: Data,
    counts: Annotated[
        Numbers, typer.Option(parser=whole_numbers(1), metavar="N,N,...", help="Images of each class.")
    ] = Numbers(COUNTS),
    seeds: Annotated[Numbers, typer.Option(parser=whole_numbers(0), metavar="N,N,...", help="One fit each.")] = Numbers(
        (0, 1, 2)
    ),
    epochs: Epochs = None,
    precision: FitPrecision = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on after the points and epochs there are.")] = False,
    out: Annotated[
        Path | None, typer.Option(parser=path, metavar="FILE", help="The points; else runs/DATA.images-per-class.csv.")
    ] = None,
    runs: Runs = Path("runs"),
) -> None:
    from training.datasets import load_dataset
    from training.evaluation.learning_curve import Measurement, pool
    from training.evaluation.points import read_points, write_points
    from training.fitting.backend import import_tensorflow
    from training.recipes import recipe_named
    from training.recipes.recipe import RecipeError
    from training.target import check_record, claimed_run

    check_tensorflow()
    chosen = recipe_named(recipe)
    dataset = pool(load_dataset(data, chosen.reader, chosen.input), max(counts))
    out = out or runs / f"{dataset.name}.{POINTS}"
    check_record(out, chosen, dataset)
    known = read_points(out)
    if not resume and any(point.recipe == chosen.name for point in known):
        raise RecipeError(f"{out} has points of {chosen.name}; add the missing ones with --resume")
    print(dataset.describe(), flush=True)
    import_tensorflow()
    from training.fitting.options import FitOptions

    fit_options = FitOptions(
        name=chosen.model,
        run_folder=runs / f"{chosen.model}.{chosen.name}",
        epochs=epochs,
        precision=precision,
        resume=resume,
    )
    measurement = Measurement(chosen, dataset, fit_options)
    with resumable(fit_options.run_folder), claimed_run(fit_options.run_folder):
        for point in measurement.points(counts, seeds, known):
            known.append(point)
            write_points(known, out)
            shutil.rmtree(measurement.run_folder(point.images, point.seed))
            print(f"{chosen.name}, {point.images} images of each class, seed {point.seed}: {point.test_accuracy:.4f}")
    print(f"saved {out}")
