"""A head on features, fitted at one strength of L2 after the other, from strong to weak.

Why: docs/tuning.md#head-on-few-images.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from training.backbones.features import Features, FeatureSet
from training.fitting.class_weights import Weights
from training.fitting.run import Epoch, Run, last_epoch
from training.progress import Progress, silent
from training.recipes.recipe import L2Path, RecipeError

MOST_ITERATIONS = 200  # for one strength; beginning at the solution for the one before, some ten are enough
TOLERANCE = 1e-3  # of the gradient, in units of the root of the curvature
STEEPEST = 0.5  # by which the cross-entropy curves along a logit at most (Böhning 1992)
LEAST_CURVATURE = 1e-12  # along an axis on which all images lie together
LEAST_PROBABILITY = 1e-7  # as Keras clips it
GRAM_ROWS = 4_096  # images at a time
SHRUNK_TO = 2.0 ** -np.arange(0, 6.25, 0.25)  # of a solution, as parts: all of it is the first

Rows = npt.NDArray[Any]


class Head(NamedTuple):
    """A linear layer: kernel [k, classes] and bias [classes]."""

    kernel: Rows
    bias: Rows


def train_along(
    path: L2Path,
    head: Any,
    seen: FeatureSet,
    run: Run,
    weights: Weights | None = None,
    *,
    until: int,
    patience: int | None = None,
    progress: Progress = silent,
) -> int:
    """Fit a Keras head at the strengths of epochs 1 to `until` that `run` does not hold yet; returns the last epoch.

    As with `epochs.train`, `patience` may end it earlier, and class `weights` weigh the losses. Nothing is random.
    Raises RecipeError where the head is more than one linear layer.
    """
    if len(head.weights) != 2:
        raise RecipeError("a path of L2 strengths needs a head of one dense layer")
    train, validation = seen.splits["train"], seen.splits["validation"]
    classes = max(2, head.output_shape[-1])
    last = last_epoch(run.history, 0, until, patience)
    if run.epochs < last:
        regression = LogisticRegression(train, classes, weights)
        if run.epochs:
            run.restore(head, run.epochs)
        else:
            _set(head, Head(np.zeros((train.inputs.shape[1], classes)), np.zeros(classes)))
    while run.epochs < last:
        began = time.monotonic()
        _set(head, shrunk(regression.solved(path.strength(run.epochs + 1), _linear(head)), validation, weights))
        found = [*_judged(_linear(head), train, weights), *_judged(_linear(head), validation, weights)]
        run.record(Epoch(run.epochs + 1, time.monotonic() - began, *found), head)
        last = last_epoch(run.history, 0, until, patience)
        progress("epochs", until if run.epochs == last else run.epochs, until)
    return last


class LogisticRegression:
    """A multinomial logistic regression on features: the mean cross-entropy, plus L2 on its kernel.

    It works along the principal axes of the features, with the bias as one more. Along them the curvature has a bound
    for each axis of its own, so that a step of that length is safe whatever the scale of the features is.
    """

    def __init__(self, features: Features, classes: int, weights: Weights | None = None) -> None:
        labels, count = features.labels, len(features)
        self._weights = _of_images(weights, labels)[:, None]
        self._targets = np.eye(classes, dtype=np.float32)[labels]
        self._mean = np.average(features.inputs, axis=0, weights=self._weights[:, 0]).astype(np.float32)
        centred = features.inputs - self._mean
        self._axes = principal_axes(centred * np.sqrt(self._weights))
        self._coordinates = np.hstack([centred @ self._axes, np.ones((count, 1), np.float32)])
        self._squares = np.einsum("nr,nr,n->r", self._coordinates, self._coordinates, self._weights[:, 0]) / count

    def solved(self, strength: float, start: Head) -> Head:
        """The solution for a strength, in parts of the features' mean square for each image, from that of another.

        Nesterov's accelerated gradient, begun anew wherever it overshoots (O'Donoghue and Candès 2015).
        """
        decay = np.full_like(self._squares, strength * self._squares[:-1].sum() / len(self._targets))
        decay[-1] = 0.0  # the bias is free
        step = 1.0 / np.maximum(STEEPEST * self._squares + decay, LEAST_CURVATURE)[:, None]
        here = ahead = self._inward(start)
        momentum = 1.0
        for _ in range(MOST_ITERATIONS):
            gradient = self._gradient(ahead) + decay[:, None] * ahead
            there = ahead - step * gradient
            if (gradient * (there - here)).sum() > 0:
                momentum = 1.0
            following = (1.0 + (1.0 + 4.0 * momentum**2) ** 0.5) / 2.0
            ahead = there + (momentum - 1.0) / following * (there - here)
            here, momentum = there, following
            if np.abs(gradient * np.sqrt(step)).max() < TOLERANCE:
                break
        return self._outward(here)

    def _gradient(self, slopes: Rows) -> Rows:
        errors = self._weights * (softmax(self._coordinates @ slopes) - self._targets) / len(self._targets)
        gradient: Rows = self._coordinates.T @ errors
        return gradient

    def _inward(self, head: Head) -> Rows:
        """Slopes along the axes, and the bias at the mean of the features; float32 [axes + 1, classes]."""
        kernel, bias = (np.asarray(each, np.float32) for each in head)
        return np.vstack([self._axes.T @ kernel, bias + self._mean @ kernel])

    def _outward(self, slopes: Rows) -> Head:
        kernel = self._axes @ slopes[:-1]
        return Head(kernel, slopes[-1] - self._mean @ kernel)


def principal_axes(centred: Rows) -> Rows:
    """Orthonormal axes of centred rows [n, k], float32 [k, min(n, k)], so that their products along two are 0."""
    count, width = centred.shape
    if count <= width:
        axes = np.linalg.svd(centred.astype(np.float64), full_matrices=False)[2].T
    else:  # many images: their products first, which are fewer
        gram = np.zeros((width, width))
        for at in range(0, count, GRAM_ROWS):
            part = centred[at : at + GRAM_ROWS].astype(np.float64)
            gram += part.T @ part
        axes = np.linalg.eigh(gram)[1]
    return axes.astype(np.float32)


def softmax(logits: Rows) -> Rows:
    """Probabilities of rows of logits."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Rows = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def shrunk(head: Head, validation: Features, weights: Weights | None = None) -> Head:
    """The head with its logits shrunk by the factor that gives the lowest validation loss; never enlarged.

    A head that is surer than it should be would lose against one that has learned nothing. Its top classes stay.
    """
    logits = validation.inputs @ head.kernel + head.bias
    losses = [
        (_losses(part * logits, validation.labels) * _of_images(weights, validation.labels)).mean()
        for part in SHRUNK_TO
    ]
    part = SHRUNK_TO[int(np.argmin(losses))]
    return Head(part * head.kernel, part * head.bias)


def _judged(head: Head, features: Features, weights: Weights | None) -> tuple[float, float]:
    """Loss and accuracy, as Keras has them."""
    logits, labels = features.inputs @ head.kernel + head.bias, features.labels
    loss = (_losses(logits, labels) * _of_images(weights, labels)).mean()
    return float(loss), float((logits.argmax(axis=1) == labels).mean())


def _losses(logits: Rows, labels: npt.NDArray[np.int64]) -> Rows:
    """The cross-entropy of each image in nats."""
    found = softmax(logits)[np.arange(len(labels)), labels]
    losses: Rows = -np.log(np.clip(found, LEAST_PROBABILITY, None))
    return losses


def _of_images(weights: Weights | None, labels: npt.NDArray[np.int64]) -> Rows:
    """The weight of each image, float32 [n]."""
    return np.asarray(weights, np.float32)[labels] if weights else np.ones(len(labels), np.float32)


def _linear(head: Any) -> Head:
    """The layer of a Keras head; one sigmoid unit as the two columns that mean the same."""
    kernel, bias = (weight.numpy() for weight in head.weights)
    if kernel.shape[1] == 1:
        return Head(np.hstack([-kernel, kernel]) / 2, np.hstack([-bias, bias]) / 2)
    return Head(kernel, bias)


def _set(head: Any, linear: Head) -> None:
    """Give a Keras head a layer; the reverse of `_linear`."""
    kernel, bias = linear
    if head.output_shape[-1] == 1:
        kernel, bias = kernel[:, 1:] - kernel[:, :1], bias[1:] - bias[:1]
    for weight, value in zip(head.weights, (kernel, bias), strict=True):
        weight.assign(np.asarray(value, np.float32))
