"""The images a shipped model is evaluated on, with labels as its card's columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from classifier.card import Card, InputSpec
from training.datasets import load_dataset
from training.datasets.dataset import Dataset, Reader, Skipped, Split, gathered
from training.datasets.folders import Folders, read_class_folders
from training.errors import DatasetError
from training.progress import Progress, silent
from training.recipes import RECIPES


@dataclass(frozen=True)
class EvaluationImages:
    """What was read: `split` is its name, "all" where a folder has no splits and every image is evaluated.

    `same_data` says that the card's network was fitted with this very data set, split in the same way.
    """

    dataset: str
    split: str
    images: Split
    skipped: tuple[Skipped, ...]
    same_data: bool


@dataclass(frozen=True)
class LabelledImages:
    """What was read, before any card has a say: the labels of `images` count within `labels`.

    `fingerprint` is that of the whole data set, None where it has no splits. `again` reads the same images, in the same
    order, for the input of another network.
    """

    dataset: str
    split: str
    labels: tuple[str, ...]
    images: Split
    skipped: tuple[Skipped, ...]
    fingerprint: str | None
    again: Callable[[InputSpec], LabelledImages]

    def are_of(self, card: Card) -> bool:
        """Whether the card's network was fitted with this very data set, split in the same way."""
        return self.fingerprint == card.training.dataset.fingerprint


class _Wanted(NamedTuple):
    """What is asked for: one split of what lies at a path, with labels that are known."""

    path: Path
    split: str
    known: Sequence[str]
    progress: Progress


def read_images(path: Path, card: Card, split: str, progress: Progress = silent) -> EvaluationImages:
    """Read one split for the card's network, by the reader of its recipe or as class folders.

    A folder without splits is read whole, unless the network was fitted on it: then only its `split` is, which for
    "test" are the images the network never saw. Raises DatasetError, also for labels that the card does not have.
    """
    found = find_images(path, card, split, card.labels, progress)
    columns = np.array([column_of(label, card.labels) for label in found.labels], np.int64)
    images = Split(found.images.pixels, columns[found.images.labels])
    return EvaluationImages(found.dataset, found.split, images, found.skipped, found.are_of(card))


def find_images(
    path: Path, card: Card, split: str, known: Sequence[str], progress: Progress = silent
) -> LabelledImages:
    """As `read_images`, with labels as they lie. Raises DatasetError for those that are not among the `known`."""
    recipe, wanted = RECIPES.get(card.recipe), _Wanted(path, split, known, progress)
    if recipe and recipe.reader.recognises(path):
        try:
            return _part(recipe.reader, card.input, wanted)
        except DatasetError:  # perhaps only names in common: `Cat/1.jpg` may be anybody's
            if not Folders().recognises(path):
                raise
    of_article = recipe is not None and card.training.dataset.name == recipe.reader.name
    if not of_article and (dealt := _dealt_as_for_fitting(card, wanted)):
        return dealt
    return _class_folders(card.input, wanted)


def read_fitted_on(path: Path, card: Card, progress: Progress = silent) -> Dataset:
    """All splits of the data set that a version was fitted on. Raises DatasetError where the path holds another one."""
    reader = RECIPES[card.recipe].reader if card.recipe in RECIPES else Folders()
    dataset = load_dataset(path, reader, card.input, progress=progress)
    if dataset.fingerprint != card.training.dataset.fingerprint:
        raise DatasetError(f"{path} is not the data that {card.name} version {card.version} was fitted on")
    return dataset


def column_of(label: str, labels: Sequence[str]) -> int | None:
    """The column of a label, its capitals aside where that is no other's; None where it has none."""
    if label in labels:
        return labels.index(label)
    folded = [each.casefold() for each in labels]
    return folded.index(label.casefold()) if folded.count(label.casefold()) == 1 else None


def _part(reader: Reader, spec: InputSpec, wanted: _Wanted, files: tuple[str, ...] | None = None) -> LabelledImages:
    """One split as the reader gives it, or these files of any split."""
    dataset = reader.load(wanted.path, spec, progress=wanted.progress)
    if wanted.split not in dataset.splits:
        raise DatasetError(f"{dataset.name} has no {wanted.split} images; it has {', '.join(dataset.splits)}")
    _check_known(dataset.labels, wanted.known)
    images = dataset.splits[wanted.split]
    if files is not None and files != images.files:  # at another size other images may be near copies
        images = gathered(dataset.splits.values(), files)
    return LabelledImages(
        dataset.name,
        wanted.split,
        dataset.labels,
        images,
        dataset.skipped,
        dataset.fingerprint,
        again=lambda other: _part(reader, other, wanted, images.files),
    )


def _dealt_as_for_fitting(card: Card, wanted: _Wanted) -> LabelledImages | None:
    """The part of the data set that the card's network was fitted on; None where the path holds anything else."""
    try:
        dealt = _part(Folders(), card.input, wanted)
    except DatasetError:  # too few images to fit on may still be evaluated
        return None
    return dealt if dealt.are_of(card) else None


def _class_folders(spec: InputSpec, wanted: _Wanted) -> LabelledImages:
    found = read_class_folders(wanted.path, spec, wanted.split, wanted.progress)
    _check_known(found.labels, wanted.known)
    return LabelledImages(
        found.name,
        found.split,
        found.labels,
        found.images,
        found.skipped,
        fingerprint=None,
        again=lambda other: _class_folders(other, wanted),
    )


def _check_known(labels: Sequence[str], known: Sequence[str]) -> None:
    if strange := [label for label in labels if column_of(label, known) is None]:
        raise DatasetError(
            f"{', '.join(strange)}: not among the labels of the model, which are {', '.join(known)}; "
            "rename the folders, or choose the model that knows them"
        )
