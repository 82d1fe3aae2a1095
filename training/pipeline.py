"""How fast images come out of the input pipeline, how fast the network takes them, and both together."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from classifier.card import Precision
from training.batches import Batches
from training.datasets.dataset import Dataset, Split
from training.networks import training_network
from training.recipe import Recipe, no_augmentation, statistics_of


@dataclass(frozen=True)
class Rates:
    """Images per second: `pipeline` shuffles and augments, `network` trains on one batch over and over, `both` fits."""

    pipeline: float
    network: float
    both: float

    @property
    def both_of_slower(self) -> float:
        """`both` as a part of the slower one alone; where they share the processor it cannot reach 1."""
        return self.both / min(self.pipeline, self.network)


def measure(recipe: Recipe, dataset: Dataset, precision: Precision, batches: int) -> Rates:
    """Time `batches` batches of each, after as many untimed ones that compile and warm up."""
    train, statistics = dataset.splits["train"], statistics_of(dataset)
    classes = len(dataset.labels)
    plain = training_network(replace(recipe, augmentation=no_augmentation), classes, statistics, precision)
    return Rates(
        pipeline=_pipeline_rate(recipe, train, batches),
        network=_fit_rate(plain, _SameBatch(train, recipe.batch_size, batches)),
        both=_fit_rate(
            training_network(recipe, classes, statistics, precision),
            Batches(train, recipe.batch_size, seed=0, steps=batches),
        ),
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


def _pipeline_rate(recipe: Recipe, train: Split, steps: int) -> float:
    layers = recipe.augmentation()

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]  # TensorFlow ships no types
    def augment(pixels: Any) -> Any:
        for layer in layers:
            pixels = layer(pixels, training=True)
        return pixels

    batches = Batches(train, recipe.batch_size, seed=0, steps=steps)
    for _ in range(2):
        began = time.perf_counter()
        for i in range(steps):
            np.asarray(augment(tf.constant(batches[i][0])))
        seconds = time.perf_counter() - began
        images = _images(batches)
        batches.on_epoch_end()
    return images / seconds


def _fit_rate(network: Any, batches: Any) -> float:
    timer = _EpochTimer()
    network.fit(batches, epochs=2, verbose=0, callbacks=[timer])
    return _images(batches) / timer.seconds


def _images(batches: Any) -> int:
    return sum(len(batches[i][1]) for i in range(len(batches)))
