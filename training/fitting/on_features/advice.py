"""Of which class more photos would help most, asked of the features: seconds, whatever network is taken in the end.

Accuracy grows with the logarithm of the number of images. So what half of a class is missed tells what as many more
would do.
"""

from __future__ import annotations

import numpy as np

from training.backbones.features import Features
from training.datasets.sampling import spread
from training.fitting.on_features.ridge import Rows, margins_by_others

MOST_IMAGES = 1_000  # that are looked at; each class as many as the others, as far as it has them
MOST_CLASSES = 10  # those with the lowest margin
SIGMAS = 2.0  # by which a class must stand out, or chance picks it


def most_wanted(features: Features) -> int | None:
    """The class, by its column, without half of whose images the mean margin falls most; None where none stands out.

    In the mean all classes count alike.
    """
    seen = features.take(spread(features.labels, max(MOST_IMAGES, len(np.unique(features.labels)))))
    counts = np.bincount(seen.labels)
    weights = 1.0 / (len(counts) * counts[seen.labels])
    whole = margins_by_others(seen)[0]
    lowest = np.argsort(np.bincount(seen.labels, whole) / counts)[:MOST_CLASSES]
    falls = np.array([whole - _without_half(seen, int(column)) for column in lowest])
    top = int(np.argmax(falls @ weights))
    ahead = falls[top] - falls.mean(axis=0)
    mean = ahead @ weights
    error = np.linalg.norm(weights * (ahead - mean))
    return int(lowest[top]) if mean > SIGMAS * error else None


def _without_half(seen: Features, column: int) -> Rows:
    """The margins without one half of the images of a class and without the other, as a mean."""
    own = np.random.default_rng(column).permutation(np.flatnonzero(seen.labels == column))
    margins = [margins_by_others(seen, kept=~np.isin(np.arange(len(seen)), half))[0] for half in np.array_split(own, 2)]
    mean: Rows = np.mean(margins, axis=0)
    return mean
