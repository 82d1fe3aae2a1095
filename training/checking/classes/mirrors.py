"""Classes that differ by mirroring alone: to flip their images while training would teach the wrong class."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from training.checking.classes.features import SIMPLE_EXTRACTOR, mirrored_features
from training.checking.classes.folds import HeldOut, held_out_ridge
from training.checking.evidence import Evidence
from training.checking.finding import Case, Finding
from training.datasets.sampling import spread

LEAST = 10  # images of a class
MOST_IMAGES = 1_000  # that are mirrored
MOST_OF_A_CLASS = 100
SIGMAS = 4.0  # by which the answers must differ
TURNED = 0.3  # part of its lead that a class has to lose beyond zero when mirrored

Floats = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]


def find_mirrored_classes(evidence: Evidence) -> list[Finding]:
    """Pairs of classes whose mirrored images look like the other class's."""
    chosen = _chosen(evidence)
    labels = evidence.pictures.labels[chosen]
    if evidence.listing is None or evidence.asked == "none" or len(np.unique(labels)) < 2:
        return []
    plain, mirrored = mirrored_features(evidence.listing, evidence.pictures.listed[chosen].tolist(), SIMPLE_EXTRACTOR)
    held = held_out_ridge(plain, labels, len(evidence.pictures.classes))
    classes = evidence.pictures.classes
    return [
        Finding(
            "mirrored",
            "warning",
            f"{classes[one]} and {classes[other]} differ by mirroring",
            "Images must not be flipped while training: `fit --augment flip=0`.",
            int(np.isin(labels, (one, other)).sum()),
            (Case((), f"a mirrored {classes[one]} looks like {classes[other]}, and the other way round"),),
        )
        for one, other in combinations(np.unique(labels).tolist(), 2)
        if _are_mirrored(held, plain, mirrored, labels, one, other)
    ]


def _chosen(evidence: Evidence) -> Indices:
    labels = evidence.pictures.labels
    enough = np.flatnonzero(evidence.class_sizes[labels] >= LEAST)
    present = len(np.unique(labels[enough]))
    most = min(MOST_OF_A_CLASS * present, max(MOST_IMAGES, LEAST * present))
    return enough[spread(labels[enough], most)] if present else enough


def _are_mirrored(held: HeldOut, plain: Floats, mirrored: Floats, labels: Indices, one: int, other: int) -> bool:
    """Whether each of two classes is ahead of the other as it is, and behind it when mirrored."""
    seen, turned = held.logits(plain), held.logits(mirrored)
    for own, foreign in ((one, other), (other, one)):
        these = labels == own
        lead = seen[these, own] - seen[these, foreign]
        lead_mirrored = turned[these, own] - turned[these, foreign]
        error = lead_mirrored.std(ddof=1) / len(lead_mirrored) ** 0.5
        if lead.mean() <= 0 or lead_mirrored.mean() > -TURNED * lead.mean():
            return False
        if -lead_mirrored.mean() < SIGMAS * max(float(error), 1e-9):
            return False
    return True
