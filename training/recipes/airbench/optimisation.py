"""How the steps of a fit change on the way: rates by variable, a rate that rises and falls, and Lookahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np


class SGDWithMultipliers(keras.optimizers.SGD):  # type: ignore[misc]  # Keras ships no types
    """SGD whose variables learn at different multiples of the learning rate; weight decay is the same for all.

    `multipliers` are by the end of a variable's path, as "/beta"; a variable that none names has 1.
    """

    def __init__(self, multipliers: Mapping[str, float], **settings: Any) -> None:
        super().__init__(**settings)
        self.multipliers = multipliers

    def build(self, variables: Sequence[Any]) -> None:
        super().build(variables)
        self.built_for = [variable.path for variable in variables]

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        # A fit on TensorFlow names the variables, one on JAX does not.
        paths = [variable.path for variable in trainable_variables] if trainable_variables else self.built_for
        scaled = [grad * self._multiplier(path) for grad, path in zip(grads, paths, strict=True)]
        super().apply(scaled, trainable_variables)

    def _multiplier(self, path: str) -> float:
        return next((factor for end, factor in self.multipliers.items() if path.endswith(end)), 1.0)


class _Counting(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Knows which of a fit's `steps`, which follow the epoch `after`, is the current one, also in a resumed fit."""

    def __init__(self, steps: int, after: int = 0) -> None:
        super().__init__()
        self.steps = steps
        self.first = after
        self.before = 0  # steps of the epochs before this one

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.before = (epoch - self.first) * self.params["steps"]

    def part(self, batch: int) -> float:
        """How much of the fit lies before a batch of this epoch, 0..1."""
        return (self.before + batch) / self.steps


class Triangle(_Counting):
    """Has the learning rate rise from `start` times `peak_rate` to all of it, and fall to `end` times it.

    The peak is at the part `peak_at` of all steps.
    """

    def __init__(
        self, steps: int, after: int = 0, *, peak_rate: float, start: float, peak_at: float, end: float
    ) -> None:
        super().__init__(steps, after)
        self.peak_rate = peak_rate
        self.corners = (0.0, peak_at, 1.0), (start, 1.0, end)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.model.optimizer.learning_rate = self.peak_rate * float(np.interp(self.part(batch), *self.corners))


class Lookahead(_Counting):
    """Every few steps, replaces the weights by a moving average of them, which grows slower towards the end.

    It begins after `after` epochs. After each `every` steps the average keeps a share of itself, the power `every` of
    `decay` times the cube of the part of the fit that is done; the rest is the weights'. At the end of an epoch the
    weights are the average, so that a resumed fit has it from them.
    """

    def __init__(self, steps: int, *, after: int, every: int, decay: float) -> None:
        super().__init__(steps)
        self.after = after
        self.every = every
        self.decay = decay
        self.average: list[Any] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_begin(epoch)
        self.average = [np.array(weight) for weight in self.model.weights] if epoch >= self.after else []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if not self.average:
            return
        done = self.before + batch + 1
        if done % self.every == 0:
            kept = self.decay**self.every * self.part(batch + 1) ** 3
            now = (np.array(weight) for weight in self.model.weights)
            self.average = [kept * slow + (1 - kept) * fast for slow, fast in zip(self.average, now, strict=True)]
        if done % self.every == 0 or batch + 1 == self.params["steps"]:
            for weight, slow in zip(self.model.weights, self.average, strict=True):
                weight.assign(slow)
