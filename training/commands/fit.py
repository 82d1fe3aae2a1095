"""Train a recipe on the article's data or on your own photos.

The result is saved as a new version of the model. With --folds it is a measurement instead: K networks, each
validated on another K-th of the training and validation images, and no version.
"""
# ruff: noqa: T201  (a command prints)

from __future__ import annotations

import argparse
import re
import shutil
from dataclasses import replace
from pathlib import Path

from classifier.card import Card
from classifier.store import ModelStore
from training.backbones import backbone_named
from training.commands.arguments import PRECISIONS, add_recipe_and_data, positive, two_or_more
from training.datasets import load_dataset
from training.datasets.dataset import Dataset
from training.evaluation.cross_validation import fit_folds, fold_folder
from training.evaluation.folds import FoldsRecord, write_folds
from training.fitting.options import FitOptions
from training.fitting.tensorflow_import import import_tensorflow
from training.recipes import recipe_named
from training.recipes.recipe import Recipe, RecipeError

HELP = "train a recipe and save the result as a new version"

RECORDED = ("card.json", "history.csv", "curves.png", "confusion.png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe_and_data(parser)
    add = parser.add_argument
    add("--name", help="the served model's name (default: the recipe's, or the folder's for your own images)")
    add("--epochs", type=positive, help="default: as the article")
    add("--seed", type=int, default=0)
    add("--backbone", help="for a recipe on a pretrained network: another one than efficientnet-lite0")
    add("--precision", choices=PRECISIONS, default="auto")
    add("--resume", action="store_true", help="continue from the last complete epoch")
    add("--folds", type=two_or_more, metavar="K", help="cross-validate with K networks; saves no version")
    add("--out", type=Path, default=Path("models"), help="the model store (default: models)")
    add("--runs", type=Path, default=Path("runs"), help="where unfinished runs are kept (default: runs)")
    add("--record", type=Path, help="also keep card, history and pictures, without weights, below this folder")


def run(options: argparse.Namespace) -> int:
    recipe = _recipe(options)
    dataset = load_dataset(options.data, recipe.reader, recipe.input, limit=options.limit)
    print(dataset.describe(), flush=True)
    import_tensorflow()
    chosen = _fit_options(options, recipe, dataset)
    if options.folds:
        _cross_validate(options, recipe, dataset, chosen)
    else:
        _fit_version(options, recipe, dataset, chosen)
    return 0


def _recipe(options: argparse.Namespace) -> Recipe:
    recipe = recipe_named(options.recipe)
    if options.backbone is None:
        return recipe
    if recipe.backbone is None:
        raise RecipeError(f"{recipe.name} trains from scratch; --backbone is for the recipes on a pretrained network")
    return replace(recipe, backbone=backbone_named(options.backbone))


def _fit_options(options: argparse.Namespace, recipe: Recipe, dataset: Dataset) -> FitOptions:
    name = options.name or _model_name(recipe, dataset, options.data)
    return FitOptions(
        name=name,
        run_folder=options.runs / f"{name}.{recipe.name}.seed-{options.seed}",
        epochs=options.epochs,
        seed=options.seed,
        precision=options.precision,
        resume=options.resume,
    )


def _model_name(recipe: Recipe, dataset: Dataset, data: Path) -> str:
    if dataset.name == recipe.reader.name:
        return recipe.model
    return re.sub(r"[^a-z0-9]+", "-", data.resolve().stem.lower()).strip("-")[:64].strip("-") or "my-model"


def _fit_version(options: argparse.Namespace, recipe: Recipe, dataset: Dataset, chosen: FitOptions) -> None:
    from training.export import save_version
    from training.fitting.fit import fit

    store = ModelStore(options.out)
    card = save_version(store, fit(recipe, dataset, chosen))
    saved = store.folder(card.name, card.version)
    _print_card(card, saved)
    if options.record:
        _record(saved, options.record / recipe.name / f"seed-{options.seed}")
    shutil.rmtree(chosen.run_folder)


def _print_card(card: Card, saved: Path) -> None:
    for split, metrics in card.metrics.items():
        print(f"{split}: accuracy {metrics.accuracy:.4f}, loss {metrics.loss:.4f} on {metrics.images:,} images")
    print(f"saved {saved} (epoch {card.training.best_epoch} of {card.training.epochs_run})")


def _record(version: Path, to: Path) -> None:
    to.mkdir(parents=True, exist_ok=True)
    for file in RECORDED:
        shutil.copyfile(version / file, to / file)


def _cross_validate(options: argparse.Namespace, recipe: Recipe, dataset: Dataset, chosen: FitOptions) -> None:
    done = []
    for fold, history in fit_folds(recipe, dataset, chosen, options.folds):
        done.append((fold, history))
        accuracies = ", ".join(f"{split} accuracy {m.accuracy:.4f}" for split, m in fold.metrics.items())
        print(f"fold {len(done)} of {options.folds}: {accuracies} (epoch {fold.best_epoch} of {fold.epochs_run})")
    record = FoldsRecord.of(recipe, dataset, chosen, [fold for fold, _ in done])
    for split, spread in record.accuracy.items():
        print(f"{split}: accuracy {spread.mean:.4f}, standard deviation {spread.deviation:.4f} over {len(done)} folds")
    if options.record:
        to = options.record / recipe.name / f"folds-{options.folds}-seed-{options.seed}"
        print(f"recorded {write_folds(record, [history for _, history in done], to)}")
    for fold_number in range(1, options.folds + 1):
        shutil.rmtree(fold_folder(chosen.run_folder, fold_number, options.folds))
