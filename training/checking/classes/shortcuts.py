"""What gives a class away without showing it: the size of a file, its format, a colour, brightness, blur.

A classifier on such a trait alone should know little. Where it knows much, so will a network, and it will fail on
pictures that were taken elsewhere.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from training.checking.classes.folds import balanced_accuracy, held_out_ridge
from training.checking.evidence import Evidence
from training.checking.files.sight import FIGURES, TRAITS
from training.checking.finding import Case, Finding
from training.datasets.sampling import spread

LEAST = 20  # images of a class
MOST_IMAGES = 4_000
BINS = 8  # by which a figure is cut into equally many images
OF_THE_REST = 0.5  # of what chance leaves open that a trait must get right to be reported
OF_A_PAIR = 0.85  # the same of two classes among many
MOST_CLASSES = 12  # whose pairs are looked at
DOUBT = 2.0  # standard errors that are taken off an accuracy

Floats = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]


class Shortcut(NamedTuple):
    """A trait, the classes that it tells apart, and the balanced accuracy of it alone."""

    trait: str
    classes: tuple[int, ...]
    accuracy: float
    chance: float


def find_shortcuts(evidence: Evidence) -> list[Finding]:
    """Traits that tell classes apart by themselves."""
    classes = evidence.pictures.classes
    found = shortcuts(evidence)
    if not found:
        return []
    return [
        Finding(
            "shortcut",
            "warning",
            f"{_subject(each.trait)} alone tells {_named(classes, each.classes)} in {each.accuracy:.0%} "
            f"(chance: {each.chance:.0%})",
            "A network will learn that instead of the subject. If it is not what makes the classes different, take "
            "pictures of each class in the same way.",
            int(evidence.class_sizes[list(each.classes)].sum()),
            tuple(Case((), said) for said in _typical(evidence, each)),
        )
        for each in found
    ]


def shortcuts(evidence: Evidence) -> list[Shortcut]:
    """One for each trait that tells all classes apart, else the pairs that it does, the best three."""
    labels = evidence.pictures.labels
    enough = np.flatnonzero(evidence.class_sizes[labels] >= LEAST)
    present = np.unique(labels[enough])
    if len(present) < 2:
        return []
    chosen = enough[spread(labels[enough], max(MOST_IMAGES, len(present)))]
    found = []
    for trait, names in TRAITS.items():
        figures = evidence.pictures.figures[chosen][:, [FIGURES.index(name) for name in names]]
        if np.isnan(figures).any() or not figures.std(axis=0).any():
            continue
        rows = _binned(figures)
        if whole := _tells(trait, rows, labels[chosen], present, OF_THE_REST):
            found.append(whole)
        elif 2 < len(present) <= MOST_CLASSES:
            pairs = (_tells(trait, rows, labels[chosen], np.array(two), OF_A_PAIR) for two in combinations(present, 2))
            found += sorted((pair for pair in pairs if pair), key=lambda each: -each.accuracy)[:3]
    return found


def _tells(trait: str, rows: Floats, labels: Indices, classes: Indices, part: float) -> Shortcut | None:
    """The shortcut between these classes, if it is one for sure."""
    these = np.isin(labels, classes)
    columns = np.searchsorted(classes, labels[these])
    held = held_out_ridge(rows[these], columns, len(classes))
    accuracy = balanced_accuracy(held.probabilities, columns)
    chance = 1 / len(classes)
    doubt = DOUBT * (accuracy * (1 - accuracy) / len(columns)) ** 0.5
    if accuracy - doubt < chance + part * (1 - chance):
        return None
    return Shortcut(trait, tuple(int(each) for each in classes), accuracy, chance)


def _binned(figures: Floats) -> Floats:
    """Figures [n, k] as the bin that each falls into, so that no course is assumed: [n, k * BINS]."""
    edges = np.quantile(figures, np.linspace(0, 1, BINS + 1)[1:-1], axis=0)
    bins = (figures[:, None, :] > edges[None]).sum(axis=1)
    return np.asarray((bins[..., None] == np.arange(BINS)).reshape(len(figures), -1), np.float32)


def _subject(trait: str) -> str:
    return f"the {trait}"[0].upper() + f"the {trait}"[1:]


def _named(classes: tuple[str, ...], chosen: tuple[int, ...]) -> str:
    if len(chosen) == 2:
        return f"{classes[chosen[0]]} from {classes[chosen[1]]}"
    return f"the {len(chosen)} classes"


def _typical(evidence: Evidence, found: Shortcut) -> list[str]:
    """The median of the trait's figures in each class."""
    if found.trait == "format":
        return [f"{evidence.pictures.classes[i]}: {evidence.formats_of(i)}" for i in found.classes]
    names = TRAITS[found.trait]
    figures = evidence.pictures.figures[:, [FIGURES.index(name) for name in names]]
    said = []
    for i in found.classes:
        middle = np.median(figures[evidence.pictures.labels == i], axis=0)
        of_it = ", ".join(f"{name} {value:,.4g}" for name, value in zip(names, middle, strict=True))
        said.append(f"{evidence.pictures.classes[i]}: {of_it}")
    return said
