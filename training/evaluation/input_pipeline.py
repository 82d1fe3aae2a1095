"""How fast images come out of the input pipeline, how fast the network takes them, and both together."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from classifier import provenance
from classifier.card import Precision
from training.datasets.dataset import Dataset, Split
from training.evaluation.rates import Rates, RatesRecord
from training.fitting.batches import Batches
from training.fitting.networks import training_network
from training.recipes.recipe import NO_AUGMENTATION, Recipe, statistics_of


def measure(recipe: Recipe, dataset: Dataset, precision: Precision, batches: int, rounds: int) -> RatesRecord:
    """Time `batches` batches of each, in turns, after as many untimed ones that compile and warm up."""
    train, statistics = dataset.splits["train"], statistics_of(dataset)
    classes = len(dataset.labels)
    plain = training_network(replace(recipe, augmentation=NO_AUGMENTATION), classes, statistics, precision)
    augmented = training_network(recipe, classes, statistics, precision)
    timed = {
        "pipeline": _augmenting(recipe, Batches(train, recipe.batch_size, seed=0, steps=batches)),
        "network": _fitting(plain, _SameBatch(train, recipe.batch_size, batches)),
        "both": _fitting(augmented, Batches(train, recipe.batch_size, seed=0, steps=batches)),
    }
    for once in timed.values():
        once()
    here = provenance.of_this_run()
    return RatesRecord(
        recipe=recipe.name,
        dataset=dataset.name,
        precision=precision,
        batch_size=recipe.batch_size,
        batches=batches,
        rounds=tuple(Rates(**{name: round(once(), 1) for name, once in timed.items()}) for _ in range(rounds)),
        machine=here.machine,
        commit=here.commit,
        finished=here.date,
    )


class _SameBatch(keras.utils.PyDataset):  # type: ignore[misc]  # Keras ships no types
    """One batch, over and over: the network never waits for it."""

    def __init__(self, split: Split, batch_size: int, steps: int) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self._batch = (split.pixels[:batch_size], split.labels[:batch_size])
        self._steps = steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, _: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        return self._batch


class _EpochTimer(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """The seconds of the last epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.began = self.seconds = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds = time.perf_counter() - self.began


def _augmenting(recipe: Recipe, batches: Batches) -> Callable[[], float]:
    """Augments each batch once; gives images per second."""
    layers = recipe.augmentation.layers()

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]  # TensorFlow ships no types
    def augment(pixels: Any) -> Any:
        for layer in layers:
            pixels = layer(pixels, training=True)
        return pixels

    def once() -> float:
        began = time.perf_counter()
        for i in range(len(batches)):
            np.asarray(augment(tf.constant(batches[i][0])))
        seconds = time.perf_counter() - began
        images = _images(batches)
        batches.on_epoch_end()
        return images / seconds

    return once


def _fitting(network: Any, batches: Any) -> Callable[[], float]:
    """An epoch of fitting; gives images per second."""

    def once() -> float:
        timer = _EpochTimer()
        network.fit(batches, epochs=1, verbose=0, callbacks=[timer])
        return _images(batches) / timer.seconds

    return once


def _images(batches: Any) -> int:
    return sum(len(batches[i][1]) for i in range(len(batches)))
