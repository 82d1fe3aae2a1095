"""Labels that look wrong, by confident learning (Northcutt, Jiang and Chuang 2021), and images unlike their class."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from training.checking.classes.features import SIMPLE
from training.checking.classes.folds import balanced_accuracy
from training.checking.evidence import Evidence
from training.checking.finding import Case, Finding
from training.datasets.dataset import printable

FEW = 10  # images of a class, below which nothing can be said of its labels
FAR_AHEAD = 0.5  # in probability
NEIGHBOURS = 5
REFERENCES = 2_000  # images of a class that others are compared with
OUTLYING = 10.0  # deviations from the median, by the median deviation

Floats = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]


class Suspect(NamedTuple):
    """An image, the label that it looks like, and by how much that is more probable than its own, 0 to 1."""

    image: int
    suggested: int
    score: float


def find_wrong_labels(evidence: Evidence) -> list[Finding]:
    """Labels that other images contradict, the surest first. Nothing where features hardly tell the classes apart."""
    held = evidence.held_out
    if held is None:
        return []
    pictures, labels = evidence.pictures, evidence.pictures.labels
    accuracy, classes = balanced_accuracy(held.probabilities, labels), len(np.unique(labels))
    if accuracy < (1 + 1 / classes) / 2:
        return []
    found = [each for each in suspects(held.probabilities, labels) if evidence.class_sizes[labels[each.image]] >= FEW]
    if not found:
        return []
    cases = tuple(
        Case(
            (printable(pictures.names[each.image]),),
            f"labelled {pictures.label(each.image)}, looks like {pictures.classes[each.suggested]} ({each.score:.2f})",
            round(each.score, 4),
            pictures.classes[each.suggested],
        )
        for each in found
    )
    count = "1 label looks" if len(found) == 1 else f"{len(found):,} labels look"
    advice = (
        f"Look at the first ones: each is an image that a classifier fitted without it gives another label. "
        f"By {evidence.feature_name} it gets {accuracy:.1%} of the labels right."
    )
    return [Finding("label", "warning", f"{count} wrong ({len(found) / len(labels):.1%})", advice, len(found), cases)]


def suspects(probabilities: Floats, labels: Indices) -> list[Suspect]:
    """The images that look more like another class than like their label's, the surest first.

    Sure enough is who reaches the mean probability that the class has among its own images, or is ahead by FAR_AHEAD.
    """
    every = np.arange(len(labels))
    own = probabilities[every, labels]
    sums = np.bincount(labels, own, minlength=probabilities.shape[1])
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    usual = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    likeliest = probabilities.argmax(axis=1)
    top = probabilities[every, likeliest]
    score = top - own
    chosen = np.flatnonzero((likeliest != labels) & ((top >= usual[likeliest]) | (score >= FAR_AHEAD)))
    return [Suspect(int(i), int(likeliest[i]), float(score[i])) for i in chosen[np.argsort(-score[chosen])]]


def find_outliers(evidence: Evidence) -> list[Finding]:
    """Images that are unlike every other one of their class, by a backbone; simple features say too little of that."""
    rows, pictures = evidence.features, evidence.pictures
    if rows is None or evidence.feature_name == SIMPLE:
        return []
    found = [
        (float(far[i]), int(images[i]))
        for label in np.unique(pictures.labels)
        if len(images := np.flatnonzero(pictures.labels == label)) >= 2 * FEW
        for far in [how_far(rows[images])]
        for i in np.flatnonzero(far > OUTLYING)
    ]
    if not found:
        return []
    cases = tuple(
        Case((printable(pictures.names[i]),), f"unlike the other images of {pictures.label(i)}", round(far, 1))
        for far, i in sorted(found, reverse=True)
    )
    count = "1 image is" if len(found) == 1 else f"{len(found):,} images are"
    advice = "Look whether they belong there: a wrong crop, a logo, another subject."
    return [Finding("outlier", "note", f"{count} unlike the rest of the class", advice, len(found), cases)]


def how_far(rows: Floats) -> Floats:
    """How far each of one class is from its nearest neighbours there, in median deviations from the median."""
    chosen = rows[np.random.default_rng(0).permutation(len(rows))[:REFERENCES]]
    squares = (chosen**2).sum(axis=1)
    parts = (rows[i : i + 512] for i in range(0, len(rows), 512))
    apart = (np.sort((part**2).sum(axis=1)[:, None] + squares - 2 * part @ chosen.T, axis=1) for part in parts)
    # the nearest may be the image itself
    away = np.concatenate([np.sqrt(np.maximum(each[:, 1 : NEIGHBOURS + 1], 0)).mean(axis=1) for each in apart])
    middle = np.median(away)
    spread = 1.4826 * np.median(np.abs(away - middle))
    return np.asarray((away - middle) / max(float(spread), 1e-3))
