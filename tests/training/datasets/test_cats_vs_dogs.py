"""`training.datasets.cats_vs_dogs`: numbered photos; ranges of the numbers are the splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from classifier.card import InputSpec
from classifier.images import decode
from tests.archives import cats_vs_dogs_files, cats_vs_dogs_zip, folder_of, pet_images_files, photo_folders, zip_of
from training.datasets import READERS, CatsVsDogs, DatasetError

SPEC = InputSpec(height=32, width=32, channels=3)
SMALL = CatsVsDogs(train=range(4), validation=range(1000, 1003), test=range(1500, 1502))


@pytest.mark.parametrize(
    "files",
    [
        cats_vs_dogs_files(4),
        cats_vs_dogs_files(4, name="{}.{}.jpg".format),
        cats_vs_dogs_files(4, name="dogs-vs-cats/train/{}.{}.jpg".format),
        pet_images_files(4),
        pet_images_files(4) | {"__MACOSX/PetImages/Cat/._0.jpg": b""},
        cats_vs_dogs_files(4, name=lambda kind, n: f"{kind.title()}/{n}.jpg"),
    ],
    ids=["Kaggle", "inside train", "folder on top", "Microsoft", "packed on a Mac", "inside PetImages"],
)
def test_each_layout_gives_the_same_data_set_from_a_zip_and_from_a_folder(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    expected = SMALL.load(cats_vs_dogs_zip(tmp_path / "kaggle.zip", 4), SPEC)
    for path in (zip_of(tmp_path / "a.zip", files), folder_of(tmp_path / "a", files)):
        assert SMALL.recognises(path)
        dataset = SMALL.load(path, SPEC)
        assert dataset.fingerprint == expected.fingerprint
        assert not dataset.skipped


def test_a_range_holds_numbers_of_each_class(tmp_path: Path) -> None:
    files = cats_vs_dogs_files(4)
    dataset = SMALL.load(zip_of(tmp_path / "a.zip", files), SPEC)
    assert dataset.name == "cats-vs-dogs"
    assert dataset.labels == ("cat", "dog")
    assert {name: np.bincount(split.labels).tolist() for name, split in dataset.splits.items()} == {
        "train": [4, 4],
        "validation": [3, 3],
        "test": [2, 2],
    }
    assert np.array_equal(dataset.splits["test"].pixels[3], decode(files["train/dog.1501.jpg"], SPEC))


def test_an_empty_test_range_makes_no_test_split(tmp_path: Path) -> None:
    reader = CatsVsDogs(train=range(4), validation=range(1000, 1003), test=range(0))
    assert reader.load(cats_vs_dogs_zip(tmp_path / "a.zip", 4), SPEC).splits.keys() == {"train", "validation"}


def test_microsofts_damaged_files_are_skipped_and_counted(tmp_path: Path) -> None:
    files = pet_images_files(8) | {"PetImages/Cat/1.jpg": b"", "PetImages/Dog/1001.jpg": b"<html>"}
    dataset = SMALL.load(zip_of(tmp_path / "a.zip", files), SPEC)
    assert [file.file for file in dataset.skipped] == ["PetImages/Cat/1.jpg", "PetImages/Dog/1001.jpg"]
    assert len(dataset.splits["train"]) == 7
    assert len(dataset.splits["validation"]) == 5
    assert "files skipped: 2" in dataset.describe()


def test_files_missing_from_a_range_are_an_error_that_counts_them(tmp_path: Path) -> None:
    path = cats_vs_dogs_zip(tmp_path / "a.zip", 4)
    with pytest.raises(DatasetError, match="expected 1,000 cats numbered 0 to 999 for train, found 4"):
        READERS["cats-vs-dogs"].load(path, SPEC)


def test_with_a_limit_only_the_limit_must_be_met(tmp_path: Path) -> None:
    path = cats_vs_dogs_zip(tmp_path / "a.zip", 4)
    dataset = READERS["cats-vs-dogs"].load(path, SPEC, limit=8)
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 8, "validation": 8, "test": 8}
    with pytest.raises(DatasetError, match="expected 5 cats numbered 0 to 999 for train, found 4"):
        READERS["cats-vs-dogs"].load(path, SPEC, limit=10)


def test_ranges_that_share_a_number_are_refused() -> None:
    with pytest.raises(DatasetError, match="number 900 is in both train and validation"):
        CatsVsDogs(train=range(1000), validation=range(900, 1500), test=range(1500, 2500))


def test_a_reader_without_numbers_to_train_on_is_refused() -> None:
    with pytest.raises(DatasetError, match="expected numbers to train on"):
        CatsVsDogs(train=range(0), validation=range(10), test=range(0))


@pytest.mark.parametrize("kind", ["cat", "dog"])
def test_one_kind_alone_is_not_recognised(kind: str, tmp_path: Path) -> None:
    files = {name: body for name, body in cats_vs_dogs_files(2).items() if kind in name}
    assert not SMALL.recognises(zip_of(tmp_path / "a.zip", files))


def test_class_folders_of_other_photos_are_not_recognised(tmp_path: Path) -> None:
    assert not SMALL.recognises(photo_folders(tmp_path / "photos", ("cat", "dog")))


def test_the_real_archive_loads(shared_data: Path) -> None:
    dataset = READERS["cats-vs-dogs"].load(shared_data / "cats-vs-dogs.zip", SPEC, limit=20)
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 20, "validation": 20, "test": 20}
