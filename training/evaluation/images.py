"""The images a shipped model is evaluated on, with labels as its card's columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from classifier.card import Card
from training.datasets.dataset import Dataset, Skipped, Split
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


def read_images(path: Path, card: Card, split: str, progress: Progress = silent) -> EvaluationImages:
    """Read one split for the card's network, by the reader of its recipe or as class folders.

    A folder without splits is read whole, unless the network was fitted on it: then only its `split` is, which for
    "test" are the images the network never saw. Raises DatasetError, also for labels that the card does not have.
    """
    recipe = RECIPES.get(card.recipe)
    if recipe and recipe.reader.recognises(path):
        try:
            return _part(recipe.reader.load(path, card.input, progress=progress), card, split)
        except DatasetError:  # perhaps only names in common: `Cat/1.jpg` may be anybody's
            if not Folders().recognises(path):
                raise
    of_article = recipe is not None and card.training.dataset.name == recipe.reader.name
    if not of_article and (dealt := _dealt_as_for_fitting(path, card, progress)):
        return _part(dealt, card, split)
    return _class_folders(path, card, split, progress)


def _part(dataset: Dataset, card: Card, split: str) -> EvaluationImages:
    if split not in dataset.splits:
        raise DatasetError(f"{dataset.name} has no {split} images; it has {', '.join(dataset.splits)}")
    images = _with_columns_of(card, dataset.labels, dataset.splits[split])
    return EvaluationImages(dataset.name, split, images, dataset.skipped, _is_that_of(card, dataset))


def _is_that_of(card: Card, dataset: Dataset) -> bool:
    return dataset.fingerprint == card.training.dataset.fingerprint


def _dealt_as_for_fitting(path: Path, card: Card, progress: Progress) -> Dataset | None:
    """The data set that the card's network was fitted on; None where the folder holds anything else."""
    try:
        dealt = Folders().load(path, card.input, progress=progress)
    except DatasetError:  # too few images to fit on may still be evaluated
        return None
    return dealt if _is_that_of(card, dealt) else None


def _class_folders(path: Path, card: Card, split: str, progress: Progress) -> EvaluationImages:
    found = read_class_folders(path, card.input, split, progress)
    images = _with_columns_of(card, found.labels, found.images)
    return EvaluationImages(found.name, found.split, images, found.skipped, same_data=False)


def _with_columns_of(card: Card, labels: Sequence[str], images: Split) -> Split:
    columns = _columns(card)
    if strange := [label for label in labels if _column(columns, label) is None]:
        raise DatasetError(
            f"{', '.join(strange)}: not among the labels of {card.name} version {card.version}, "
            f"which are {', '.join(card.labels)}; rename the folders, or choose the model that knows them"
        )
    translated = np.array([_column(columns, label) for label in labels], np.int64)
    return Split(images.pixels, translated[images.labels])


def _columns(card: Card) -> dict[str, int]:
    """Column by label, and by the label without its capitals where that is no other's."""
    folded = [label.casefold() for label in card.labels]
    exact = {label: column for column, label in enumerate(card.labels)}
    return {f: column for column, f in enumerate(folded) if folded.count(f) == 1} | exact


def _column(columns: dict[str, int], label: str) -> int | None:
    return columns.get(label, columns.get(label.casefold()))
