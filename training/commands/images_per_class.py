"""Fit a recipe on 10, 30, 100, 300 and 1,000 images of each class, and add each test accuracy to a file of points.

The report draws them. A point that is in the file is not fitted again: with --resume an interrupted measurement goes
on, in the midst of a fit too. The fits are those of the recipe, but for the images and for an epoch's length, which is
16 batches at least.
"""
# ruff: noqa: T201  (a command prints)

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from training.commands.arguments import PRECISIONS, positive
from training.datasets import load_dataset
from training.evaluation.learning_curve import COUNTS, Measurement, pool
from training.evaluation.points import POINTS, read_points, write_points
from training.fitting.tensorflow_import import import_tensorflow
from training.recipes import recipe_named
from training.recipes.recipe import RecipeError

HELP = "measure accuracy against the number of training images"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add, out = parser.add_argument, Path("docs/runs") / POINTS
    add("recipe", metavar="RECIPE", help="see `python -m training list`")
    add("--data", type=Path, required=True, help="the data set's folder or zip, or any folder of class sub-folders")
    add("--counts", type=positive, nargs="+", default=COUNTS, metavar="N", help="images of each class (10 to 1000)")
    add("--seeds", type=int, nargs="+", default=(0, 1, 2), metavar="SEED", help="default: 0 1 2")
    add("--epochs", type=positive, help="fewer than the recipe's own; the report says so")
    add("--precision", choices=PRECISIONS, default="auto")
    add("--resume", action="store_true", help="go on after the points and epochs there are")
    add("--out", type=Path, default=out, help=f"default: {out}")
    add("--runs", type=Path, default=Path("runs"), help="where unfinished runs are kept (default: runs)")


def run(options: argparse.Namespace) -> int:
    recipe = recipe_named(options.recipe)
    known = read_points(options.out)
    if not options.resume and any(point.recipe == recipe.name for point in known):
        raise RecipeError(f"{options.out} has points of {recipe.name}; add the missing ones with --resume")
    dataset = pool(load_dataset(options.data, recipe.reader, recipe.input), max(options.counts))
    print(dataset.describe(), flush=True)
    import_tensorflow()
    from training.fitting.options import FitOptions

    fit_options = FitOptions(
        name=recipe.model,
        run_folder=options.runs / f"{recipe.model}.{recipe.name}",
        epochs=options.epochs,
        precision=options.precision,
        resume=options.resume,
    )
    measurement = Measurement(recipe, dataset, fit_options)
    for point in measurement.points(options.counts, options.seeds, known):
        known.append(point)
        write_points(known, options.out)
        shutil.rmtree(measurement.run_folder(point.images, point.seed))
        print(f"{recipe.name}, {point.images} images of each class, seed {point.seed}: {point.test_accuracy:.4f}")
    return 0
