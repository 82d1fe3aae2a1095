"""One number that makes probabilities honest: the temperature that a network's logits are divided by."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from classifier.engines import Probabilities
from classifier.errors import SightlineError

FEWEST_IMAGES = 50  # to fit a temperature on; of fewer the network stays as it is
LARGEST = 10.0  # and its inverse is the smallest

_SMALLEST_PROBABILITY = 1e-12
_CHI_SQUARE = 3.841459  # with one degree of freedom, at a p of 0.05


class NoLogits(SightlineError):
    """The network does not end in a layer whose logits could be divided."""

    code = "no-logits"
    title = "The network has no logits"


def fit_temperature(probabilities: Probabilities, labels: npt.NDArray[np.int64]) -> float:
    """The temperature with the lowest loss, found on a log scale; below 1 it makes answers surer.

    `probabilities` is float32 [n, classes], `labels` [n]. It is 1 where the images do not speak against that: where a
    likelihood-ratio test gives it a p of 0.05 or more. Half a mistake is added to those there are: without one among
    few images the temperature would else fall without end. The most probable label stays the most probable one.
    """
    logits = np.log(np.clip(probabilities.astype(np.float64), _SMALLEST_PROBABILITY, 1.0))
    count, classes = logits.shape
    wrong = 0.5 / (count + 1)
    targets = np.full(logits.shape, wrong / (classes - 1))
    targets[np.arange(count), labels] = 1.0 - wrong

    def loss(log_temperature: float) -> float:
        scaled = logits / math.exp(log_temperature)
        scaled -= scaled.max(axis=1, keepdims=True)
        return float((np.log(np.exp(scaled).sum(axis=1)) - (targets * scaled).sum(axis=1)).mean())

    lowest = _lowest(loss, -math.log(LARGEST), math.log(LARGEST))
    return math.exp(lowest) if 2 * count * (loss(0.0) - loss(lowest)) > _CHI_SQUARE else 1.0


def divide_logits(network: Any, temperature: float) -> None:
    """Have a Keras network answer at a temperature: its last layer's weights are divided, and no step is added.

    Raises NoLogits where its probabilities are not a sigmoid's or a softmax's.
    """
    import keras

    dense = [layer for layer in network.layers if isinstance(layer, keras.layers.Dense)]
    if not dense or dense[-1].activation not in (keras.activations.sigmoid, keras.activations.softmax):
        raise NoLogits("a network ends in a Dense layer with sigmoid or softmax; this one does not")
    dense[-1].set_weights([weights / np.float32(temperature) for weights in dense[-1].get_weights()])


def _lowest(loss: Any, low: float, high: float, steps: int = 60) -> float:
    """Where a function with one valley is lowest, by golden sections."""
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(steps):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return (low + high) / 2
