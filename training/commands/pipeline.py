"""Time shuffling and augmentation alone, the network alone, and a fit, which is both.

Where a fit is much slower than the slower of the two, they wait for each other. Only on an otherwise idle machine do
the numbers mean something.
"""
# ruff: noqa: T201  (a command prints)

from __future__ import annotations

import argparse
import json

from training.commands.arguments import PRECISIONS, add_recipe_and_data, positive
from training.datasets import load_dataset
from training.quiet import import_tensorflow
from training.recipes import recipe_named

HELP = "time the input pipeline and the network of a recipe"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe_and_data(parser)
    parser.add_argument("--batches", type=positive, default=50, help="batches to time of each (default: 50)")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    recipe = recipe_named(options.recipe)
    dataset = load_dataset(options.data, recipe.reader, recipe.input, limit=options.limit)
    import_tensorflow()
    from training.export import machine
    from training.fit import chosen_precision
    from training.pipeline import measure

    precision = chosen_precision(options.precision, recipe)
    rates = measure(recipe, dataset, precision, options.batches)
    if options.json:
        images_per_second = {"pipeline": rates.pipeline, "network": rates.network, "both": rates.both}
        summary = {
            "recipe": recipe.name,
            "precision": precision,
            "batch_size": recipe.batch_size,
            "batches": options.batches,
            "machine": machine(),
            "images_per_second": images_per_second,
            "both_of_slower": rates.both_of_slower,
        }
        print(json.dumps(summary, indent=2))
        return 0
    print(f"{recipe.name} in {precision}, {options.batches} batches of {recipe.batch_size} on {machine()}")
    print(f"batches and augmentation alone  {rates.pipeline:9,.0f} images/s")
    print(f"network alone                   {rates.network:9,.0f} images/s")
    print(f"both, a fit                     {rates.both:9,.0f} images/s, {rates.both_of_slower:.2f} of the slower")
    return 0
