"""Time shuffling and augmentation alone, the network alone, and a fit, which is both.

Where a fit is much slower than the slower of the two, they wait for each other. Only on an otherwise idle machine do
the numbers mean something.
"""
# ruff: noqa: T201  (a command prints)

from __future__ import annotations

import argparse
from pathlib import Path

from training.commands.arguments import PRECISIONS, add_recipe_and_data, positive
from training.datasets import load_dataset
from training.evaluation.json_records import write_record
from training.evaluation.rates import RATES
from training.fitting.tensorflow_import import import_tensorflow
from training.recipes import recipe_named

HELP = "time the input pipeline and the network of a recipe"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe_and_data(parser)
    parser.add_argument("--batches", type=positive, default=50, help="batches to time of each (default: 50)")
    parser.add_argument("--rounds", type=positive, default=3, help="of each, in turns (default: 3)")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--record", type=Path, help="also keep them below this folder, for the report: docs/runs")


def run(options: argparse.Namespace) -> int:
    recipe = recipe_named(options.recipe)
    dataset = load_dataset(options.data, recipe.reader, recipe.input, limit=options.limit)
    import_tensorflow()
    from training.evaluation.input_pipeline import measure
    from training.fitting.options import chosen_precision

    precision = chosen_precision(options.precision, recipe)
    record = measure(recipe, dataset, precision, options.batches, options.rounds)
    if options.record:
        write_record(record, options.record / recipe.name / RATES)
    if options.json:
        print(record.model_dump_json(indent=2))
        return 0
    rates, batch = record.rates, record.batch_size
    print(f"{recipe.name} in {precision}, {options.batches} batches of {batch} on {record.machine}")
    print(f"medians of n={options.rounds} rounds:")
    print(f"batches and augmentation alone  {rates.pipeline:9,.0f} images/s")
    print(f"network alone                   {rates.network:9,.0f} images/s")
    print(f"both, a fit                     {rates.both:9,.0f} images/s, {record.both_of_slower:.2f} of the slower")
    return 0
