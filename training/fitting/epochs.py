"""The epochs of a fit, each seeded by its number: a resumed run takes the course of an uninterrupted one."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from training.datasets.dataset import Examples
from training.fitting.batches import Batches, InOrder
from training.fitting.class_weights import Weights
from training.fitting.distributed.epochs import Pieces, train_in_step
from training.fitting.distributed.replicas import Replicas
from training.fitting.run import Epoch, Run, last_epoch
from training.progress import Progress, silent

VALIDATION_BATCH = 128  # no effect on the result, only on memory


class _EpochRecorder(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Seeds every epoch by its number, hands it on when done, and ends a stage that gains no more."""

    def __init__(
        self,
        run: Run,
        batches: Batches,
        after: int,
        until: int,
        patience: int | None,
        deadline: float | None,
        progress: Progress,
        replicas: Replicas | None,
    ) -> None:
        super().__init__()
        self.run = run
        self.after = after
        self.until = until
        self.patience = patience
        self.deadline = deadline
        self.progress = progress
        self.batches = batches
        self.replicas = replicas
        self.began = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.batches.epoch = epoch
        seed_randomness(self.model, self.batches.seed, epoch, self.replicas)
        self.began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        quantities = {field: float(logs[field]) for field in Epoch._fields[2:]}
        now = time.monotonic()
        self.run.record(Epoch(epoch + 1, now - self.began, **quantities), self.model)
        ended = last_epoch(self.run.history, self.after, self.until, self.patience) == epoch + 1
        if self.deadline is not None:  # the next one takes as long
            ended |= 2 * now - self.began > self.deadline
        self.model.stop_training = ended
        self.progress("epochs", self.until if ended else epoch + 1, self.until)


def train(
    network: Any,
    batches: Batches,
    validation: Examples,
    run: Run,
    weights: Weights | None = None,
    *,
    after: int = 0,
    until: int,
    patience: int | None = None,
    deadline: float | None = None,
    progress: Progress = silent,
    callbacks: Sequence[Any] = (),
    replicas: Replicas | None = None,
) -> int:
    """Run those of the epochs `after` + 1 to `until` that `run` does not hold yet; returns the last epoch.

    With `patience` that is an earlier one where so many epochs in turn have not lowered the validation loss.

    With a `deadline`, by `time.monotonic`, no epoch begins after the first that is likely to end later.

    With class `weights`, by column, the losses are weighted, of validation too; the accuracies never are. `callbacks`
    are the recipe's own, for one device. With `replicas`, in whose scope the network was made, they share every batch.
    """
    if run.epochs >= last_epoch(run.history, after, until, patience):
        return last_epoch(run.history, after, until, patience)
    if run.epochs > after:
        run.restore(network, run.epochs)
    recorder = _EpochRecorder(run, batches, after, until, patience, deadline, progress, replicas)
    if replicas is not None:
        pieces = Pieces(validation, replicas.count)
        train_in_step(network, batches, pieces, weights, replicas, recorder, range(run.epochs, until))
        return run.epochs
    network.fit(
        batches,
        shuffle=False,  # they are shuffled, by seed and epoch
        validation_data=InOrder(validation, VALIDATION_BATCH, _of_images(weights, validation)),
        class_weight=dict(enumerate(weights)) if weights else None,
        initial_epoch=run.epochs,
        epochs=until,
        callbacks=[*callbacks, recorder],
        verbose=_verbose(progress),
    )
    return run.epochs


def _verbose(progress: Progress) -> int:
    """What Keras prints itself: nothing where somebody else is informed, else a bar or a line for each epoch."""
    if progress is not silent:
        return 0
    return 1 if sys.stdout.isatty() else 2


def _of_images(weights: Weights | None, examples: Examples) -> npt.NDArray[np.float32] | None:
    """The weight of each image, where there are any."""
    return np.asarray(weights, np.float32)[examples.labels] if weights else None


def seed_randomness(network: Any, seed: int, epoch: int, replicas: Replicas | None = None) -> None:
    """Set the random state of augmentation and dropout from the seed and the epoch, on each replica another one.

    Keras does not save this state with the weights; so set, a resumed run draws what an uninterrupted one does.
    """
    generators = [
        value
        for layer in network.layers
        for value in vars(layer).values()
        if isinstance(value, keras.random.SeedGenerator)
    ]
    for position, generator in enumerate(generators):
        states = {0: generator.state}
        if replicas is not None:
            states = dict(zip(replicas.here, replicas.of(generator.state.value), strict=True))
        for replica, state in states.items():
            drawn = np.random.default_rng((seed, epoch, position, *([replica] if replica else []))).integers(1, 2**31)
            state.assign([drawn, 0])
