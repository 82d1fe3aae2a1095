"""The training room's door: `python -m training list | fetch | fit`."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from classifier.errors import SightlineError
from classifier.store import ModelStore
from training.datasets import load_dataset
from training.datasets.dataset import Dataset
from training.recipe import Recipe
from training.recipes import RECIPES, recipe_named

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported: its start-up lines say nothing


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except SightlineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; a fit continues from its last epoch with --resume", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="python -m training", description="Train image classifiers.")
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    _list_parser(commands.add_parser("list", help="the recipes there are"))
    _fetch_parser(commands.add_parser("fetch", help="download a data set from its public source"))
    _fit_parser(commands.add_parser("fit", help="train a recipe and save the result as a new version"))
    return root


def _list_parser(command: argparse.ArgumentParser) -> None:
    command.set_defaults(run=list_recipes)


def _fetch_parser(command: argparse.ArgumentParser) -> None:
    from training.datasets.fetch import SOURCES

    command.add_argument("name", choices=sorted(SOURCES))
    command.add_argument("--to", type=Path, default=Path("data"), help="folder to put it in (default: data)")
    command.set_defaults(run=fetch_dataset)


def _fit_parser(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("recipe", metavar="RECIPE", help="see `python -m training list`")
    add("--data", type=Path, required=True, help="the data set's folder or zip, or any folder of class sub-folders")
    add("--name", help="the served model's name (default: the recipe's, or the folder's for your own images)")
    add("--epochs", type=_positive, help="default: as the article")
    add("--seed", type=int, default=0)
    add("--precision", choices=("auto", "float32", "bfloat16", "float16"), default="auto")
    add("--resume", action="store_true", help="continue from the last complete epoch")
    add("--limit", type=_positive, help="at most so many images per split, for a quick look")
    add("--out", type=Path, default=Path("models"), help="the model store (default: models)")
    add("--runs", type=Path, default=Path("runs"), help="where unfinished runs are kept (default: runs)")
    add("--record", type=Path, help="also keep card, history and pictures, without weights, below this folder")
    command.set_defaults(run=fit_recipe)


def list_recipes(_: argparse.Namespace) -> int:
    for recipe in RECIPES.values():
        said = recipe.article.accuracy
        figure = f"{recipe.article.split} {said:.3f}" if said is not None else "no figure stated"
        print(f"{recipe.name:28} {recipe.epochs:3} epochs  {recipe.parameters:9,} parameters  article: {figure}")
    return 0


def fetch_dataset(options: argparse.Namespace) -> int:
    from training.datasets.fetch import fetch

    print(fetch(options.name, options.to))
    return 0


def fit_recipe(options: argparse.Namespace) -> int:
    recipe = recipe_named(options.recipe)
    dataset = load_dataset(options.data, recipe.reader, recipe.input, limit=options.limit)
    print(dataset.describe(), flush=True)
    from training.export import save_version  # here: importing TensorFlow takes seconds, bad data is told at once
    from training.fit import FitOptions, fit

    name = options.name or _model_name(recipe, dataset, options.data)
    folder = options.runs / f"{name}.{recipe.name}.seed-{options.seed}"
    fitted = fit(
        recipe,
        dataset,
        FitOptions(
            name=name,
            run_folder=folder,
            epochs=options.epochs,
            seed=options.seed,
            precision=options.precision,
            resume=options.resume,
        ),
    )
    store = ModelStore(options.out)
    card = save_version(store, fitted)
    saved = store.folder(card.name, card.version)
    for split, metrics in card.metrics.items():
        print(f"{split}: accuracy {metrics.accuracy:.4f}, loss {metrics.loss:.4f} on {metrics.images:,} images")
    print(f"saved {saved} (epoch {card.training.best_epoch} of {card.training.epochs_run})")
    if options.record:
        _record(saved, options.record / recipe.name / f"seed-{options.seed}")
    shutil.rmtree(folder)
    return 0


def _model_name(recipe: Recipe, dataset: Dataset, data: Path) -> str:
    if dataset.name == recipe.reader.name:
        return recipe.model
    return re.sub(r"[^a-z0-9]+", "-", data.resolve().stem.lower()).strip("-")[:64].strip("-") or "my-model"


def _record(version: Path, to: Path) -> None:
    to.mkdir(parents=True, exist_ok=True)
    for file in ("card.json", "history.csv", "curves.png", "confusion.png"):
        shutil.copyfile(version / file, to / file)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text}")
    return number


if __name__ == "__main__":
    sys.exit(main())
