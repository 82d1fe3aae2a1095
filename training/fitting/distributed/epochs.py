"""Epochs of several replicas in step: each learns from its share of every batch, and all take the same step.

Keras 3 cannot `fit` with several workers; docs/scaling.md#why-not-keras-fit. Its losses, optimisers and layers can.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from training.datasets.dataset import Examples
from training.fitting.batches import Batches
from training.fitting.class_weights import Weights
from training.fitting.distributed.replicas import Replicas
from training.fitting.weights import variables_of
from training.recipes.recipe import RecipeError

VALIDATION_BATCH = 128  # for each replica; no effect on the result, only on memory

Share = tuple[npt.NDArray[Any], npt.NDArray[np.int64]]  # inputs, labels


class Recorder(Protocol):
    """What is called around each epoch, as Keras calls a callback."""

    def set_model(self, model: Any) -> None: ...
    def on_epoch_begin(self, epoch: int) -> None: ...
    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None: ...


class Pieces(NamedTuple):
    """A split in pieces, one for each replica in every step, whose sizes differ by one at most."""

    examples: Examples
    replicas: int

    @property
    def steps(self) -> int:
        return math.ceil(len(self.examples) / (self.replicas * VALIDATION_BATCH))

    def share(self, step: int, replica: int) -> Share:
        number, of, images = step * self.replicas + replica, self.steps * self.replicas, len(self.examples)
        at = slice(number * images // of, (number + 1) * images // of)
        return self.examples.inputs[at], self.examples.labels[at]


def train_in_step(
    network: Any,
    batches: Batches,
    validation: Pieces,
    weights: Weights | None,
    replicas: Replicas,
    recorder: Recorder,
    epochs: range,
) -> None:
    """Fit a network that was made in the replicas' scope, as `fit` of Keras does; class `weights` weigh all losses.

    It begins from the chief's state. The recorder's `logs` are those of all replicas together, on every worker. Raises
    WorkerLost, and RecipeError where a replica would have no image.
    """
    if (least := min(batches.batch_size, len(batches.split), len(validation.examples))) < replicas.count:
        raise RecipeError(f"{replicas.count} devices cannot share {least} images; use fewer devices, or more images")
    for variable in variables_of(network).values():
        replicas.share(variable)
    steps = _Steps(network, replicas, weights)
    recorder.set_model(network)
    for epoch in epochs:
        recorder.on_epoch_begin(epoch)
        loss, accuracy = steps.over(steps.learn, batches.share, batches.steps)
        _average_statistics(network, replicas)
        val_loss, val_accuracy = steps.over(steps.judge, validation.share, validation.steps)
        logs = {"loss": loss, "accuracy": accuracy, "val_loss": val_loss, "val_accuracy": val_accuracy}
        recorder.on_epoch_end(epoch, logs)
        if network.stop_training:
            return


class _Steps:
    """What all replicas run on their shares, as graphs: sums of losses, of right answers and of images, float64 [3]."""

    def __init__(self, network: Any, replicas: Replicas, weights: Weights | None) -> None:
        import tensorflow as tf

        self._network = network
        self._replicas = replicas
        self._weights = tf.constant(weights or [1.0] * max(2, network.output_shape[-1]), tf.float32)
        run = replicas.strategy.run
        self.learn = tf.function(lambda *share: run(self._learn, args=share), reduce_retracing=True)
        self.judge = tf.function(lambda *share: run(self._judge, args=share), reduce_retracing=True)

    def over(self, step: Callable[..., Any], share: Callable[[int, int], Share], steps: int) -> tuple[float, float]:
        """Mean loss and accuracy over the images of so many steps."""
        sums = np.zeros(3)
        with self._replicas.scope():
            for number in range(steps):
                shares = {replica: share(number, replica) for replica in self._replicas.here}
                found = step(self._replicas.each(_column(shares, 0)), self._replicas.each(_column(shares, 1)))
                sums += np.sum([part.numpy() for part in self._replicas.of(found)], axis=0)
        loss, hits, images = self._replicas.total(sums)
        return float(loss / images), float(hits / images)

    def _learn(self, inputs: Any, labels: Any) -> Any:
        import tensorflow as tf

        network = self._network
        with tf.GradientTape() as tape:
            loss, sums = self._found(inputs, labels, training=True)
            scaled = network.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, network.trainable_weights)
        network.optimizer.apply_gradients(zip(gradients, network.trainable_weights, strict=True))  # sums over replicas
        return sums

    def _judge(self, inputs: Any, labels: Any) -> Any:
        return self._found(inputs, labels, training=False)[1]

    def _found(self, inputs: Any, labels: Any, *, training: bool) -> tuple[Any, Any]:
        """The loss, a mean that Keras has divided by the number of replicas already, and the sums."""
        import tensorflow as tf

        answers = self._network(inputs, training=training)
        weights = tf.gather(self._weights, labels)
        loss = self._network.compute_loss(None, labels, answers, weights, training=training)
        guessed = tf.argmax(answers, axis=-1) if answers.shape[-1] > 1 else tf.cast(answers[:, 0] > 0.5, labels.dtype)
        images = tf.cast(tf.size(labels), tf.float64)
        hits = tf.reduce_sum(tf.cast(guessed == labels, tf.float64))
        return loss, tf.stack([tf.cast(loss, tf.float64) * self._replicas.count * images, hits, images])


def _column(shares: dict[int, Share], at: int) -> Callable[[int], Any]:
    import tensorflow as tf

    return lambda replica: tf.constant(shares[replica][at])


def _average_statistics(network: Any, replicas: Replicas) -> None:
    """Of batch normalisation, which each replica gathers from its own images."""
    for variable in network.non_trainable_variables:
        if "float" in variable.dtype:
            replicas.average(variable)
