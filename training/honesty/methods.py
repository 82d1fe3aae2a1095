"""Ways to tell unfamiliar images, each a number per image that is higher for familiar ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from classifier.engines import Probabilities

Floats = npt.NDArray[np.float64]

NEIGHBOUR = 10  # the distance to this one of the stored features counts
STORED = 2_000
GAMMA, LARGEST_COUNTED = 0.1, 100  # of the generalised entropy, as its authors have them

_SMALLEST = 1e-12


def maximum_probability(probabilities: Probabilities) -> Floats:
    """Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution Examples, 2017."""
    return np.asarray(probabilities.max(axis=1), np.float64)


def energy(logits: Floats) -> Floats:
    """Liu et al., Energy-based Out-of-distribution Detection, 2020."""
    top = logits.max(axis=1)
    return np.asarray(top + np.log(np.exp(logits - top[:, None]).sum(axis=1)), np.float64)


def generalised_entropy(probabilities: Probabilities) -> Floats:
    """Liu et al., GEN: Pushing the Limits of Softmax-Based Out-of-Distribution Detection, 2023."""
    largest = np.sort(probabilities.astype(np.float64), axis=1)[:, ::-1][:, :LARGEST_COUNTED]
    return np.asarray(-((largest * (1 - largest)).clip(_SMALLEST) ** GAMMA).sum(axis=1), np.float64)


def nearest_neighbours(stored: npt.NDArray[np.floating], features: npt.NDArray[np.floating]) -> Floats:
    """Sun et al., Out-of-Distribution Detection with Deep Nearest Neighbors, 2022: features of length 1."""
    known, asked = stored.astype(np.float64), features.astype(np.float64)
    squares = (asked**2).sum(axis=1)[:, None] + (known**2).sum(axis=1) - 2 * asked @ known.T
    position = min(NEIGHBOUR, len(known)) - 1
    return np.asarray(-np.partition(squares, position, axis=1)[:, position], np.float64)


class VirtualLogit:
    """Wang et al., ViM: Out-Of-Distribution with Virtual-logit Matching, 2022, on features of length 1."""

    def __init__(self, features: npt.NDArray[np.floating], logits: Floats) -> None:
        values = features.astype(np.float64)
        self._centre = values.mean(axis=0)
        _, directions = np.linalg.eigh(np.cov((values - self._centre).T))
        kept = min(max(logits.shape[1], values.shape[1] // 2), 1_000)
        self._rest = directions[:, ::-1][:, kept:]
        self._scale = float(logits.max(axis=1).mean() / max(self._length(values).mean(), _SMALLEST))

    def __call__(self, features: npt.NDArray[np.floating], logits: Floats) -> Floats:
        return energy(logits) - self._scale * self._length(features.astype(np.float64))

    def _length(self, values: Floats) -> Floats:
        return np.asarray(np.linalg.norm((values - self._centre) @ self._rest, axis=1), np.float64)
