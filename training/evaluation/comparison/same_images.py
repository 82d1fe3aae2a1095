"""The images on which two versions are compared: the same ones for both, and new to both."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from classifier.card import Card
from classifier.store import ModelStore
from training.datasets.content import content_hashes
from training.datasets.dataset import Split
from training.errors import DatasetError
from training.evaluation.comparison.record import DataRecord
from training.evaluation.fitted_images import FITTED_SPLITS, are_new, read_fitted_images
from training.evaluation.images import LabelledImages, column_of, find_images
from training.progress import Progress, silent


@dataclass(frozen=True)
class SameImages:
    """`splits` has one for each version: pixels for its input, labels as its columns, images in the same order.

    `names` has the label of each image as it lies, `labels` those that occur, in the candidate's order.
    """

    splits: tuple[Split, ...]
    names: tuple[str, ...]
    labels: tuple[str, ...]
    record: DataRecord


def read_same_images(
    models: ModelStore, path: Path, cards: Sequence[Card], split: str, progress: Progress = silent
) -> SameImages:
    """Read one split for all versions, as `read_images` does for the first one, the candidate.

    Images that one of them was fitted or chosen on are left out, and so are those of labels that one does not have.
    Raises DatasetError, also where no image is left.
    """
    known = list(dict.fromkeys(label for card in cards for label in card.labels))
    found = find_images(path, cards[0], split, known, progress)
    read = [found, *(_again(found, cards[0], card) for card in cards[1:])]
    raw = [each.images for each in read]
    columns = [np.array([_column(label, card) for label in found.labels], np.int64) for card in cards]
    common = np.all([of_card[found.images.labels] >= 0 for of_card in columns], axis=0)
    fitted = [read_fitted_images(models, card) for card in cards]
    new = _new_to_all(raw, fitted)
    kept = np.flatnonzero(common & new)
    if not len(kept):
        raise DatasetError(_nothing_left(found, cards, common))
    files = found.images.files
    splits = tuple(
        Split(each.take(kept).pixels, of_card[found.images.labels[kept]], files and tuple(files[i] for i in kept))
        for each, of_card in zip(raw, columns, strict=True)
    )
    record = DataRecord(
        name=found.dataset,
        split=found.split,
        images=len(kept),
        fingerprint=_fingerprint(splits[0], cards[0]),
        left_out=int((common & ~new).sum()),
        unknown_to=tuple(
            card.version
            for card, hashes, each in zip(cards, fitted, read, strict=True)
            if hashes is None and not (each.are_of(card) and split not in FITTED_SPLITS)
        ),
        other_labels=int((~common).sum()),
        skipped=len(found.skipped),
    )
    names = tuple(cards[0].labels[column] for column in splits[0].labels)
    occurring = tuple(label for label in cards[0].labels if label in set(names))
    return SameImages(splits, names, occurring, record)


def _again(found: LabelledImages, first: Card, card: Card) -> LabelledImages:
    if card.input == first.input:
        return found
    again = found.again(card.input)
    if again.images.files != found.images.files or not np.array_equal(again.images.labels, found.images.labels):
        raise DatasetError(
            f"{found.dataset}: other images are read for {card.name} version {card.version} than for version "
            f"{first.version}; did files change meanwhile? Compare again"
        )
    return again


def _column(label: str, card: Card) -> int:
    column = column_of(label, card.labels)
    return -1 if column is None else column


def _new_to_all(splits: Sequence[Split], fitted: Sequence[npt.NDArray[np.uint64] | None]) -> npt.NDArray[np.bool_]:
    new = np.ones(len(splits[0]), np.bool_)
    for split, hashes in zip(splits, fitted, strict=True):
        if hashes is not None:
            new &= are_new(split, hashes)
    return new


def _nothing_left(found: LabelledImages, cards: Sequence[Card], common: npt.NDArray[np.bool_]) -> str:
    versions = " and ".join(f"{card.name} version {card.version}" for card in cards)
    if not common.any():
        return f"{found.dataset}: no image has a label that {versions} both know; compare on others"
    return (
        f"{found.dataset}: {versions} were fitted or chosen on every one of these {len(found.images):,} "
        "images; compare on others"
    )


def _fingerprint(split: Split, card: Card) -> str:
    digest = hashlib.sha256("\0".join(card.labels).encode())
    digest.update(content_hashes(split.pixels).tobytes())
    digest.update(np.ascontiguousarray(split.labels).data)
    return digest.hexdigest()
