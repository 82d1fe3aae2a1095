"""Time shuffling and augmentation alone, the network alone, and a fit, which is both.

Where a fit is much slower than the slower of the two, they wait for each other. Only on an otherwise idle machine do
the numbers mean something.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from classifier.commands.parameters import Json, path, whole_number
from training.commands.parameters import Data, FitPrecision, Limit, RecipeName, check_tensorflow


def run(
    recipe: RecipeName,
    data: Data,
    limit: Limit = None,
    batches: Annotated[int, typer.Option(parser=whole_number(1), metavar="N", help="Timed of each.")] = 50,
    rounds: Annotated[int, typer.Option(parser=whole_number(1), metavar="N", help="Of each, in turns.")] = 3,
    precision: FitPrecision = "auto",
    json: Json = False,
    record: Annotated[
        Path | None, typer.Option(parser=path, metavar="DIR", help="Keep them as a record there.")
    ] = None,
) -> None:
    from training.datasets import load_dataset
    from training.evaluation.json_records import write_record
    from training.evaluation.rates import RATES
    from training.fitting.backend import import_tensorflow
    from training.recipes import recipe_named
    from training.target import check_record

    check_tensorflow()
    chosen = recipe_named(recipe)
    dataset = load_dataset(data, chosen.reader, chosen.input, limit=limit)
    check_record(record, chosen, dataset)
    import_tensorflow()
    from training.evaluation.input_pipeline import measure
    from training.fitting.options import chosen_precision

    found = measure(chosen, dataset, chosen_precision(precision, chosen), batches, rounds)
    if record:
        write_record(found, record / chosen.name / RATES)
    if json:
        print(found.model_dump_json(indent=2))
        return
    rates, batch = found.rates, found.batch_size
    print(f"{chosen.name} in {found.precision}, {batches} batches of {batch} on {found.machine}")
    print(f"medians of n={rounds} rounds:")
    print(f"batches and augmentation alone  {rates.pipeline:9,.0f} images/s")
    print(f"network alone                   {rates.network:9,.0f} images/s")
    print(f"both, a fit                     {rates.both:9,.0f} images/s, {found.both_of_slower:.2f} of the slower")
