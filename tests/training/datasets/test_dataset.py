"""`training.datasets.dataset`: what a data set is once it has been read."""

from __future__ import annotations

import numpy as np
import pytest

from training.datasets.dataset import Dataset, Skipped, Split, images_at_once
from training.errors import DatasetError


def _split(labels: list[int], value: int = 7) -> Split:
    return Split(np.full((len(labels), 2, 2, 3), value, np.uint8), np.array(labels, np.int64))


def test_images_without_labels_are_refused() -> None:
    with pytest.raises(DatasetError, match="2 images but 1 labels"):
        Split(np.zeros((2, 2, 2, 3), np.uint8), np.zeros(1, np.int64))


def test_images_as_jpeg_go_with_their_images() -> None:
    pixels = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1)
    split = Split(pixels, np.arange(3), as_jpeg=lambda: pixels + 10).take(np.array([2, 0]))
    made = split.jpegs()
    assert made is not None
    assert made[:].ravel().tolist() == [12, 10]
    with pytest.raises(DatasetError, match=r"images \(3, 1, 1, 1\), but as JPEG \(2, 1, 1, 1\)"):
        Split(pixels, np.arange(3), as_jpeg=lambda: pixels[:2]).jpegs()


def test_a_split_without_one_of_the_classes_is_refused_by_name() -> None:
    with pytest.raises(DatasetError, match="the test split of 2 images has none of dog"):
        Dataset("pets", ("cat", "dog"), {"train": _split([0, 1]), "test": _split([0, 0])})


def test_the_same_images_give_the_same_fingerprint() -> None:
    one, other = (Dataset("pets", ("cat", "dog"), {"train": _split([0, 1])}) for _ in range(2))
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize(
    "changed",
    [
        Dataset("pets", ("cat", "dog"), {"train": _split([1, 0])}),
        Dataset("pets", ("cat", "dog"), {"train": _split([0, 1], value=8)}),
        Dataset("pets", ("cat", "fox"), {"train": _split([0, 1])}),
        Dataset("pets", ("cat", "dog"), {"validation": _split([0, 1])}),
    ],
    ids=["labels", "pixels", "label names", "split names"],
)
def test_any_change_changes_the_fingerprint(changed: Dataset) -> None:
    assert changed.fingerprint != Dataset("pets", ("cat", "dog"), {"train": _split([0, 1])}).fingerprint


def test_it_describes_itself_in_one_line() -> None:
    splits = {"train": _split([0, 1] * 1000), "test": _split([0, 1])}
    dataset = Dataset("pets", ("cat", "dog"), splits, (Skipped("1.jpg", "empty"),))
    assert dataset.describe() == "pets: train 2,000, test 2 images; 2 classes; files skipped: 1"


@pytest.mark.parametrize(("side", "images"), [(32, 64), (224, 6), (2_000, 1)])
def test_a_network_answers_fewer_images_at_once_the_larger_they_are(side: int, images: int) -> None:
    assert images_at_once(np.empty((100, side, side, 3), np.uint8)) == images
