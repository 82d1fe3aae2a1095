"""Draw augmented training images, so that a person sees what the network will be fed.

Nine times one image, as the articles show it; for Sign Language MNIST one batch of 32.
"""
# ruff: noqa: T201  (a command prints)

from __future__ import annotations

import argparse
from pathlib import Path

from classifier.images import encode_png
from training.commands.arguments import add_recipe_and_data
from training.datasets import load_dataset
from training.fitting.tensorflow_import import import_tensorflow
from training.recipes import recipe_named

HELP = "draw augmented images as the network will be fed with them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe_and_data(parser)
    parser.add_argument("--out", type=Path, default=Path("preview.png"), help="default: preview.png")
    parser.add_argument("--seed", type=int, default=0, help="another image, otherwise augmented")


def run(options: argparse.Namespace) -> int:
    recipe = recipe_named(options.recipe)
    dataset = load_dataset(options.data, recipe.reader, recipe.input, limit=options.limit)
    import_tensorflow()
    from training.preview import preview

    picture = preview(recipe, dataset.splits["train"], options.seed)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(encode_png(picture))
    print(options.out)
    return 0
