"""A linear classifier on features, without a network: ridge regression on columns of 0 and 1."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.backbones.features import Features
from training.datasets.sampling import Indices

FOLDS = 5
REGULARISATION = 0.01  # of the mean square of the features

Rows = npt.NDArray[np.float64]


def margins_by_others(
    features: Features, *others: npt.NDArray[np.float32], kept: npt.NDArray[np.bool_] | None = None
) -> Rows:
    """How far the true class of each image is above the highest other, by a fit on the images of other folds.

    `others` are the same images changed, float32 [n, k] each. The first row is of the images as they are, and each of
    the others has one more; float64 [1 + others, n]. Only images that are `kept`, all without it, are fitted on.
    """
    mean, labels = features.inputs.mean(axis=0), features.labels
    views = [np.asarray(each - mean, np.float64) for each in (features.inputs, *others)]
    targets = np.eye(int(labels.max()) + 1)[labels]
    targets -= targets.mean(axis=0)
    fold = np.random.default_rng(0).permutation(len(labels)) % FOLDS
    margins = np.zeros((len(views), len(labels)))
    for held in (fold == k for k in range(FOLDS)):
        known = ~held if kept is None else ~held & kept
        weights = _ridge(views[0][known], targets[known])
        margins[:, held] = [_ahead(each[held] @ weights, labels[held]) for each in views]
    return margins


def _ahead(scores: Rows, labels: Indices) -> Rows:
    """How far the score of the true class is above the highest other, float64 [n]."""
    rows = np.arange(len(labels))
    others = scores.copy()
    others[rows, labels] = -np.inf
    ahead: Rows = scores[rows, labels] - others.max(axis=1)
    return ahead


def _ridge(inputs: Rows, targets: Rows) -> Rows:
    """Weights [k, classes], solved by images rather than by features: there are fewer."""
    kernel = inputs @ inputs.T
    kernel[np.diag_indices_from(kernel)] += REGULARISATION * np.trace(kernel) / len(kernel)
    weights: Rows = inputs.T @ np.linalg.solve(kernel, targets)
    return weights
