"""What a linear classifier says of images that it was not fitted on: each image is held out once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.backbones.features import Features
from training.fitting.on_features.l2_path import Head, LogisticRegression, softmax

FOLDS = 5
RIDGE = 0.03  # of the mean square along an axis
STRENGTHS = (10.0, 1.0, 0.1, 0.01)  # of L2, from strong to weak

Floats = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class HeldOut:
    """Probabilities [n, classes] by the head of each image's own fold, and these."""

    probabilities: Floats
    folds: Indices
    heads: tuple[Head, ...]

    def logits(self, rows: Floats) -> Floats:
        """What each image's head says of other features of the same image, [n, k]: logits [n, classes]."""
        answers = np.empty_like(self.probabilities)
        for number, head in enumerate(self.heads):
            held = self.folds == number
            answers[held] = rows[held] @ head.kernel + head.bias
        return answers


def held_out(rows: Floats, labels: Indices, classes: int) -> HeldOut:
    """Fit a logistic regression on the other folds for each fold; its L2 is the one with the lowest loss there.

    A class without images in the other folds gets no probability to speak of.
    """
    folds = _stratified(labels)
    heads = []
    probabilities = np.zeros((len(rows), classes), np.float32)
    for number in range(FOLDS):
        held = folds == number
        head = _fitted(rows[~held], labels[~held], rows[held], labels[held], classes)
        heads.append(head)
        probabilities[held] = softmax(rows[held] @ head.kernel + head.bias)
    return HeldOut(probabilities, folds, tuple(heads))


def held_out_ridge(rows: Floats, labels: Indices, classes: int) -> HeldOut:
    """The same by ridge regression, in which all classes weigh alike: scores in place of probabilities, at once."""
    folds = _stratified(labels)
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)
    weights = (len(labels) / (classes * counts))[labels].astype(np.float64)
    heads = []
    scores = np.zeros((len(rows), classes), np.float32)
    for number in range(FOLDS):
        held = folds == number
        heads.append(_ridge(rows[~held], labels[~held], weights[~held], classes))
        scores[held] = rows[held] @ heads[-1].kernel + heads[-1].bias
    return HeldOut(scores, folds, tuple(heads))


def balanced_accuracy(probabilities: Floats, labels: Indices) -> float:
    """The mean recall of the classes that have images."""
    right = probabilities.argmax(axis=1) == labels
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def _fitted(rows: Floats, labels: Indices, held: Floats, held_labels: Indices, classes: int) -> Head:
    regression = LogisticRegression(Features(rows, labels), classes)
    head = best = Head(np.zeros((rows.shape[1], classes), np.float32), np.zeros(classes, np.float32))
    least = np.inf
    for strength in STRENGTHS:
        head = regression.solved(strength, head)
        found = softmax(held @ head.kernel + head.bias)[np.arange(len(held)), held_labels]
        loss = float(-np.log(np.maximum(found, 1e-7)).mean())
        if loss > least:
            break
        least, best = loss, head
    return best


def _ridge(rows: Floats, labels: Indices, weights: Floats, classes: int) -> Head:
    """Solved by images where they are fewer than the features."""
    mean = np.average(rows, axis=0, weights=weights)
    targets = np.eye(classes)[labels]
    level = np.average(targets, axis=0, weights=weights)
    root = np.sqrt(weights)[:, None]
    inputs, outputs = root * (rows - mean), root * (targets - level)
    few = len(inputs) < inputs.shape[1]
    square = inputs @ inputs.T if few else inputs.T @ inputs
    square[np.diag_indices_from(square)] += RIDGE * max(float(np.trace(square)) / len(square), 1e-9)
    kernel = inputs.T @ np.linalg.solve(square, outputs) if few else np.linalg.solve(square, inputs.T @ outputs)
    return Head(kernel, level - mean @ kernel)


def _stratified(labels: Indices) -> Indices:
    """A fold for each image, so that each fold has as many of a class, but for one."""
    shuffled = np.random.default_rng(0).permutation(len(labels))
    folds = np.empty(len(labels), np.int64)
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    folds[order] = np.arange(len(labels)) % FOLDS
    return folds
