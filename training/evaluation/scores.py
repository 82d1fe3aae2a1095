"""What a network's answers are worth: loss, accuracy, the confusion of classes, and how far to trust its confidence."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from classifier.card import PROBABILITY_BOUNDS, ExpectedAnswers, Histogram, Metrics
from classifier.engines import Probabilities
from training.datasets.dataset import Examples
from training.fitting.fitted import in_batches
from training.progress import Counted

CALIBRATION_BINS = 15  # as Guo et al., On Calibration of Modern Neural Networks, 2017

_SMALLEST = 1e-12  # of a probability whose logarithm is taken
_EPSILON = 1e-7  # Keras clips probabilities here before the logarithm; the same clip keeps losses comparable


class ClassScore(NamedTuple):
    """One class: of those called so, how many are (precision); of those that are, how many are called so (recall).

    0..1; None where none was called so, or none is.
    """

    images: int
    precision: float | None
    recall: float | None


class Confusion(NamedTuple):
    """How many images of class `true` were taken for `predicted`; both are columns."""

    true: int
    predicted: int
    images: int


class CalibrationBin(NamedTuple):
    """The images whose top probability is above `lower` and at most `upper`: its mean, and how many are right.

    Both 0..1, None where no image is.
    """

    lower: float
    upper: float
    images: int
    confidence: float | None
    accuracy: float | None


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

    @property
    def class_scores(self) -> list[ClassScore]:
        """One for each column."""
        counts = self.confusion
        right, called, there = counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)
        return [
            ClassScore(int(n), _ratio(hits, calls), _ratio(hits, n))
            for hits, calls, n in zip(right, called, there, strict=True)
        ]

    @property
    def balanced_accuracy(self) -> float:
        """The mean recall of the classes that have images: 1/classes for a network that always names one class."""
        recalls = [score.recall for score in self.class_scores if score.recall is not None]
        return sum(recalls) / len(recalls)

    @property
    def majority(self) -> float:
        """The accuracy of always naming the class that has most images."""
        return float(np.bincount(self.labels).max() / len(self.labels))

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of the accuracy."""
        return wilson_interval(int((self.predicted == self.labels).sum()), len(self.labels))

    def top_confusions(self, count: int = 10) -> list[Confusion]:
        """The most frequent mistakes, most frequent first, equal ones by columns."""
        cells = np.ndenumerate(self.confusion)
        mistakes = [Confusion(true, called, int(n)) for (true, called), n in cells if true != called and n]
        return sorted(mistakes, key=lambda mistake: (-mistake.images, mistake))[:count]

    @property
    def calibration(self) -> list[CalibrationBin]:
        """`CALIBRATION_BINS` bins of equal width over the top probability, ascending."""
        confidence = self.probabilities.max(axis=1).astype(np.float64)
        right = self.predicted == self.labels
        edges = np.linspace(0.0, 1.0, CALIBRATION_BINS + 1)
        bin_of = np.digitize(confidence, edges[1:-1], right=True)
        bins = []
        for i in range(CALIBRATION_BINS):
            inside = bin_of == i
            means = (float(confidence[inside].mean()), float(right[inside].mean())) if inside.any() else (None, None)
            bins.append(CalibrationBin(float(edges[i]), float(edges[i + 1]), int(inside.sum()), *means))
        return bins

    @property
    def calibration_error(self) -> float:
        """Expected calibration error, 0..1: how far confidence and accuracy of a bin lie apart, a mean over images."""
        gaps = ((b.images, b.confidence, b.accuracy) for b in self.calibration)
        return sum(n * abs(said - was) for n, said, was in gaps if said is not None and was is not None) / len(
            self.labels
        )

    def before_temperature(self, temperature: float) -> Evaluation:
        """The same answers with their logits multiplied by it: what they were before they were divided by it."""
        return self.at_temperature(1.0 / temperature)

    def at_temperature(self, temperature: float) -> Evaluation:
        """The same answers with their logits divided by it."""
        logits = np.log(np.clip(self.probabilities.astype(np.float64), _SMALLEST, 1.0)) / temperature
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return Evaluation(np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32), self.labels)

    def metrics(self) -> Metrics:
        """What a card says of them."""
        low, high = self.interval
        return Metrics(
            images=len(self.labels),
            loss=round(self.loss, 6),
            accuracy=self.accuracy,
            interval=(round(low, 6), round(high, 6)),
            balanced_accuracy=round(self.balanced_accuracy, 6),
            majority=round(self.majority, 6),
            recall=tuple(None if s.recall is None else round(s.recall, 6) for s in self.class_scores),
        )

    def expected(self, data: str, split: str) -> ExpectedAnswers:
        """What a card says a server is to expect; `data` and `split` name the images."""
        columns = np.bincount(self.predicted, minlength=self.probabilities.shape[1])
        top = np.minimum(self.probabilities.max(axis=1).astype(np.float64), 1.0)
        buckets = np.bincount(np.searchsorted(PROBABILITY_BOUNDS, top), minlength=len(PROBABILITY_BOUNDS))
        return ExpectedAnswers(
            data=data,
            split=split,
            images=len(self.labels),
            labels=tuple(columns.tolist()),
            confidence=Histogram(counts=tuple(buckets.tolist())),
        )


def wilson_interval(right: int, images: int) -> tuple[float, float]:
    """The 95 % interval of an accuracy, 0..1, by Wilson's score: it holds for few images and for none or all right."""
    z, share = 1.959964, right / images
    middle = (share + z * z / (2 * images)) / (1 + z * z / images)
    half = z / (1 + z * z / images) * math.sqrt(share * (1 - share) / images + z * z / (4 * images * images))
    return max(0.0, middle - half), min(1.0, middle + half)


def evaluate(
    infer: Callable[[npt.NDArray[Any]], Probabilities],
    split: Examples,
    batch_size: int = 64,
    counted: Counted | None = None,
) -> Evaluation:
    """Run a split through `infer`, to float32 [n, classes], in batches."""
    return Evaluation(in_batches(infer, split, batch_size, counted), split.labels)


def _ratio(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None
