"""What a network's answers are worth: loss, accuracy and the confusion of classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from classifier.card import Metrics
from classifier.engines import Probabilities
from training.datasets.dataset import Split

_EPSILON = 1e-7  # Keras clips probabilities here before the logarithm; the same clip keeps losses comparable


@dataclass(frozen=True)
class Evaluation:
    """Answers to one split: probabilities float32 [n, classes] and the true labels int64 [n]."""

    probabilities: Probabilities
    labels: npt.NDArray[np.int64]

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """The most probable column of each row, int64 [n]."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    @property
    def accuracy(self) -> float:
        return float((self.predicted == self.labels).mean())

    @property
    def loss(self) -> float:
        """Mean categorical cross-entropy in nats."""
        true = self.probabilities[np.arange(len(self.labels)), self.labels].astype(np.float64)
        return float(-np.log(np.clip(true, _EPSILON, 1.0)).mean())

    @property
    def confusion(self) -> npt.NDArray[np.int64]:
        """Counts int64 [classes, classes]: row is the true class, column the predicted one."""
        classes = self.probabilities.shape[1]
        cells = np.bincount(self.labels * classes + self.predicted, minlength=classes * classes)
        return cells.reshape(classes, classes)

    def metrics(self) -> Metrics:
        return Metrics(images=len(self.labels), loss=round(self.loss, 6), accuracy=self.accuracy)


def evaluate(infer: Callable[[npt.NDArray[np.uint8]], Probabilities], split: Split, batch_size: int = 64) -> Evaluation:
    """Run a split through `infer` (uint8 [n, h, w, c] to float32 [n, classes]) in batches."""
    rows = [infer(split.pixels[i : i + batch_size]) for i in range(0, len(split), batch_size)]
    return Evaluation(np.concatenate(rows), split.labels)
