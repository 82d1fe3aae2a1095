"""States what a version's familiarity is worth: on genuine test images, and on outliers that nothing was chosen by."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from classifier.card import FamiliarityRecord, OperatingPoint
from classifier.engines import Familiarity
from training.honesty.choosing import Chosen
from training.honesty.conformal import share
from training.honesty.detection import auroc_figure

KEPT = 0.95  # unless a release says otherwise
KEEPS = (0.9, KEPT, 0.98, 0.99, 0.995)


def familiarity_record(
    chosen: Chosen,
    scaled_images: int,
    genuine: Familiarity,
    outliers: Mapping[str, Familiarity],
    checked_on: str,
) -> FamiliarityRecord:
    """The card's record, from the familiarity of genuine images and of each kind of outlier, float32 [n], as served."""
    return FamiliarityRecord(
        features=chosen.features,
        rank=chosen.distance.rank,
        cost=round(chosen.cost, 6),
        scaled_on="validation",
        scaled_images=scaled_images,
        checked_on=checked_on,
        auroc={kind: auroc_figure(genuine, scores) for kind, scores in outliers.items()},
        keep=KEPT,
        points=tuple(_point(keep, genuine, outliers) for keep in KEEPS),
    )


def _point(keep: float, genuine: Familiarity, outliers: Mapping[str, Familiarity]) -> OperatingPoint:
    """Familiarity is a share of genuine validation images, so the threshold that keeps 95 % of them is 0.05."""
    threshold = round(1.0 - keep, 6)
    below = np.float32(threshold)
    return OperatingPoint(
        keep=keep,
        threshold=threshold,
        rejected=share(int((genuine < below).sum()), len(genuine)),
        caught={kind: share(int((scores < below).sum()), len(scores)) for kind, scores in outliers.items()},
    )
