"""Compare the engines of a saved version with its Keras network again, and write what is found into its card.

Fitting does this once. What an engine makes of a network may change with a new release of it, or with ours, and the
server goes below float32 only where the card says that answers stay the same. Nothing else of the card changes.
"""
# ruff: noqa: T201  (a command prints)

from __future__ import annotations

import argparse
from pathlib import Path

from classifier.engines import EngineOptions, open_engine
from classifier.store import ModelStore
from training.commands.evaluate import model_and_version
from training.datasets.dataset import DatasetError
from training.evaluation.images import read_images
from training.evaluation.scores import evaluate
from training.fitting.tensorflow_import import import_tensorflow

HELP = "compare a saved version's engines again, and update its card"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL[@VERSION]", type=model_and_version, help="no version: the newest")
    add("--data", type=Path, required=True, help="the data that it was fitted on")
    add("--models", type=Path, default=Path("models"), help="the model store (default: models)")


def run(options: argparse.Namespace) -> int:
    import_tensorflow()
    from training.export import agreement_checks

    store = ModelStore(options.models)
    card = store.verify(*options.model)
    folder, name = store.folder(card.name, card.version), card.checks[0].split
    data = read_images(options.data, card, name)
    if not data.same_data:
        raise DatasetError(f"{options.data} is not the data that {card.name} version {card.version} was fitted on")
    keras = open_engine(card, folder, EngineOptions("tensorflow", "float32"))
    checks = agreement_checks(card, folder, name, data.images, evaluate(keras.infer, data.images))
    keras.close()
    store.update(card.model_copy(update={"checks": checks}))
    for check in checks:
        print(f"{check.engine} {check.precision}: same top class {check.same_top_class:.2%} of {check.images:,} images")
    return 0
