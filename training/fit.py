"""Fit a recipe: train, keep the epoch with the lowest validation loss, and hand over what is to be saved."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from classifier.card import Precision
from classifier.engines.openvino import supports_bfloat16
from training.batches import Batches
from training.datasets.dataset import Dataset
from training.export import Fitted
from training.networks import inference_network, training_network
from training.recipe import Recipe, statistics_of
from training.run import Epoch, Run, best_epoch

VALIDATION_BATCH = 128  # no effect on the result, only on memory


@dataclass(frozen=True)
class FitOptions:
    """What a person chooses about a fit; everything else is the recipe's.

    `epochs` None is the recipe's own number. `precision` "auto" is bfloat16 where the recipe bears it and the processor
    multiplies it natively.
    `run_folder` holds the state that `resume` continues from.
    """

    name: str
    run_folder: Path
    epochs: int | None = None
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    resume: bool = False


class _EpochRecorder(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Seeds every epoch by its number and hands it to the run when it is done."""

    def __init__(self, run: Run, batches: Batches) -> None:
        super().__init__()
        self.run = run
        self.batches = batches
        self.began = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.batches.epoch = epoch
        seed_randomness(self.model, self.batches.seed, epoch)
        self.began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        quantities = {field: float(logs[field]) for field in Epoch._fields[2:]}
        self.run.record(Epoch(epoch + 1, time.monotonic() - self.began, **quantities), self.model)


def fit(recipe: Recipe, dataset: Dataset, options: FitOptions) -> Fitted:
    """Train to the last epoch, resuming if asked, and return the best epoch as an inference network.

    The same recipe, data, seed and precision on the same machine give the same history; a resumed run gives the history
    of an uninterrupted one. Raises RecipeError where the run folder belongs to another run.
    """
    precision = chosen_precision(options.precision, recipe)
    run = Run(options.run_folder, _settings(recipe, dataset, options, precision), resume=options.resume)
    statistics = statistics_of(dataset)
    keras.utils.set_random_seed(options.seed)
    network = training_network(recipe, len(dataset.labels), statistics, precision)
    train(network, recipe, dataset, run, epochs=options.epochs or recipe.epochs, seed=options.seed)
    run.restore(network, best_epoch(run.history).epoch)
    return Fitted(
        recipe=recipe,
        name=options.name,
        dataset=dataset,
        network=inference_network(recipe, len(dataset.labels), statistics, network),
        history=run.history,
        seed=options.seed,
        precision=precision,
    )


def train(network: Any, recipe: Recipe, dataset: Dataset, run: Run, *, epochs: int, seed: int) -> None:
    """Run the epochs that `run` does not hold yet."""
    if run.epochs:
        network.optimizer.build(network.trainable_variables)
        run.restore(network, run.epochs)
    if run.epochs >= epochs:
        return
    batches = Batches(dataset.splits["train"], recipe.batch_size, seed=seed, steps=recipe.steps_per_epoch)
    validation = dataset.splits["validation"]
    network.fit(
        batches,
        shuffle=False,  # they are shuffled, by seed and epoch
        validation_data=(validation.pixels, validation.labels),
        validation_batch_size=VALIDATION_BATCH,
        initial_epoch=run.epochs,
        epochs=epochs,
        callbacks=[_EpochRecorder(run, batches)],
        verbose=1 if sys.stdout.isatty() else 2,
    )


def seed_randomness(network: Any, seed: int, epoch: int) -> None:
    """Set the random state of augmentation and dropout from the seed and the epoch.

    Keras does not save this state with the weights; so set, a resumed run draws what an uninterrupted one does.
    """
    generators = [
        value
        for layer in network.layers
        for value in vars(layer).values()
        if isinstance(value, keras.random.SeedGenerator)
    ]
    for place, generator in enumerate(generators):
        drawn = np.random.default_rng((seed, epoch, place)).integers(1, 2**31)
        generator.state.assign([drawn, 0])


def chosen_precision(asked: Literal["auto", "float32", "bfloat16", "float16"], recipe: Recipe) -> Precision:
    """What "auto" means for this recipe on this machine."""
    if asked != "auto":
        return asked
    return "bfloat16" if recipe.reduced_precision and supports_bfloat16() else "float32"


def _settings(recipe: Recipe, dataset: Dataset, options: FitOptions, precision: Precision) -> dict[str, Any]:
    return {
        "recipe": recipe.name,
        "dataset": dataset.name,
        "fingerprint": dataset.fingerprint,
        "seed": options.seed,
        "precision": precision,
        "batch_size": recipe.batch_size,
    }
