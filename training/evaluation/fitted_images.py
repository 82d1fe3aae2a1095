"""The images that a version was fitted and chosen on, by their hashes: an evaluation leaves them out."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from classifier import store
from classifier.card import Card
from classifier.errors import BrokenModel
from training.datasets.content import content_hashes
from training.datasets.dataset import Dataset, Split

FITTED_SPLITS = ("train", "validation")  # weights come from the one, the epoch that is kept from the other


def write_fitted_images(dataset: Dataset, path: Path) -> None:
    """Write the hashes of the images of `FITTED_SPLITS`, uint64 ascending, eight bytes for each image."""
    hashes = {name: np.unique(content_hashes(dataset.splits[name].pixels)) for name in FITTED_SPLITS}
    np.savez(path, **hashes)  # type: ignore[arg-type]  # NumPy's stub takes the arrays for allow_pickle


def read_fitted_images(models: store.ModelStore, card: Card) -> npt.NDArray[np.uint64] | None:
    """The hashes of all of them; None of a version that was saved without. Raises BrokenModel."""
    if store.FITTED_ON not in card.files:
        return None
    try:
        with np.load(io.BytesIO(models.read(card, store.FITTED_ON)), allow_pickle=False) as hashes:
            return np.concatenate([hashes[name] for name in FITTED_SPLITS])
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BrokenModel(f"{store.FITTED_ON} of {card.name} version {card.version} cannot be read: {error}") from error


def are_new(images: Split, fitted: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """For each image whether its hash is not among these."""
    return np.asarray(~np.isin(content_hashes(images.pixels), fitted))


def without(images: Split, fitted: npt.NDArray[np.uint64]) -> Split:
    """The images whose hash is not among these."""
    unseen = are_new(images, fitted)
    return images if unseen.all() else images.take(np.flatnonzero(unseen))  # a copy of many images needs much memory
