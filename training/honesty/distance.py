"""How far an image's features lie from those of the training images: Mahalanobis distance in a part of the directions.

Features of length 1 make it what Müller and Hein call Mahalanobis++ (2025). In the `rank` directions in which the
training images differ most, it is the distance to the nearest class mean by the classes' common covariance (Lee et al.,
A Simple Unified Framework for Detecting Out-of-Distribution Samples, 2018). Outside of them it counts by the largest
variance there: smaller ones are known badly. So it takes few numbers to keep, and few images to fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

IMAGES_PER_DIRECTION = 4  # fewer, and a covariance says more of the sample than of what it was drawn from
LEAST_REST = 1e-5  # of the squared length, so that a difference of two such lengths in float32 is known well enough
_RIDGE = 1e-6  # of the mean variance, so that a direction without any has an inverse


@dataclass(frozen=True)
class Distance:
    """Fitted on features [n, width]: `rank` directions and the classes' means in them.

    `whiten` [width, rank] leads to coordinates in which the classes' common covariance is 1, `unwhiten` [rank, width]
    back. `means` is [classes, rank]. `rest` is the variance that counts in every other direction.
    `squared_length` is that of the features, a mean; unit features have 1 for each of them side by side.
    """

    centre: Floats
    whiten: Floats
    unwhiten: Floats
    means: Floats
    rest: float
    squared_length: float

    @property
    def rank(self) -> int:
        return int(self.whiten.shape[1])

    def of(self, features: npt.NDArray[np.floating]) -> Floats:
        """The squared distance of each row, [n]; 0 and more."""
        centred = features.astype(np.float64) - self.centre
        inside = centred @ self.whiten
        left = centred - inside @ self.unwhiten
        nearest = np.min([((inside - mean) ** 2).sum(axis=1) for mean in self.means], axis=0)
        return np.asarray(nearest + (left**2).sum(axis=1) / self.rest, np.float64)


@dataclass(frozen=True)
class Directions:
    """Those in which training images differ, most first: `basis` is [width, width]; `inside` are the images in them."""

    centre: Floats
    basis: Floats
    inside: Floats

    @classmethod
    def of(cls, features: npt.NDArray[np.floating]) -> Directions:
        values = features.astype(np.float64)
        centre = values.mean(axis=0)
        values -= centre
        _, found = np.linalg.eigh(values.T @ values / len(values))
        basis = found[:, ::-1]
        return cls(centre, basis, values @ basis)

    def supported(self, rank: int) -> int:
        """The rank that so many images of so many numbers can support, at most `rank`."""
        count, width = self.inside.shape
        return int(max(1, min(rank, width, count // IMAGES_PER_DIRECTION)))

    def distance(self, labels: npt.NDArray[np.int64] | None, rank: int) -> Distance:
        """Fit to the images' classes, [n], or to all as one class where that is None."""
        count, width = self.inside.shape
        rank = self.supported(rank)
        inside, basis = self.inside[:, :rank], self.basis[:, :rank]
        named, classes = np.unique(np.zeros(count) if labels is None else labels, return_inverse=True)
        means = np.stack([inside[classes == each].mean(axis=0) for each in range(len(named))])
        spread = inside - means[classes]
        variances, axes = np.linalg.eigh(spread.T @ spread / count)
        scale = np.sqrt(variances + _RIDGE * variances.mean())
        length = float((self.inside**2).sum(axis=1).mean() + (self.centre**2).sum())
        edge = float((self.inside[:, rank] ** 2).mean()) if rank < width else length  # then nothing is left
        return Distance(
            centre=self.centre,
            whiten=basis @ (axes / scale),
            unwhiten=(axes * scale).T @ basis.T,
            means=means @ (axes / scale),
            rest=max(edge, LEAST_REST * length, 1e-12),
            squared_length=length,
        )


def fit_distance(features: npt.NDArray[np.floating], labels: npt.NDArray[np.int64] | None, rank: int) -> Distance:
    """Fit on training images: features [n, width], their classes [n], or None to take them as one class.

    `rank` is at most what so many images can support.
    """
    return Directions.of(features).distance(labels, rank)
