"""`training.datasets.cifar10`: class folders of images, or the official pickles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from classifier.card import InputSpec
from classifier.images import decode
from tests.archives import (
    CIFAR_CLASSES,
    cifar10_batches,
    cifar10_files,
    cifar10_pickles,
    cifar10_tar,
    cifar10_zip,
    folder_of,
    photo_folders,
    picture,
    python2_pickle,
    zip_of,
)
from training.datasets import Cifar10, DatasetError

SPEC = InputSpec(height=32, width=32, channels=3)


def _zip_of_pickles(path: Path) -> Path:
    return zip_of(path.with_suffix(".zip"), cifar10_batches())


def _inside_the_folder(path: Path) -> Path:
    return cifar10_pickles(path) / "cifar-10-batches-py"


@pytest.mark.parametrize("make", [cifar10_pickles, _inside_the_folder, cifar10_tar, _zip_of_pickles])
def test_the_official_pickles_load_in_any_packing(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path / "official")
    assert Cifar10().recognises(path)
    dataset = Cifar10().load(path, SPEC)
    assert dataset.labels == CIFAR_CLASSES
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 70, "validation": 30, "test": 20}
    assert dataset.fingerprint == Cifar10().load(cifar10_pickles(tmp_path / "expected"), SPEC).fingerprint


def test_pickled_rows_become_upright_pictures_with_their_labels(tmp_path: Path) -> None:
    test = Cifar10().load(cifar10_pickles(tmp_path), SPEC).splits["test"]
    assert test.labels[7] == 7
    assert np.array_equal(test.pixels[7], picture(7, 10, 5007, 32))


@pytest.mark.parametrize("top", ["", "cifar10/"])
@pytest.mark.parametrize("pack", [zip_of, folder_of])
def test_class_folders_load_with_labels_in_the_official_order(
    pack: Callable[[Path, dict[str, bytes]], Path], top: str, tmp_path: Path
) -> None:
    files = cifar10_files(20, 2)
    path = pack(tmp_path / "cifar", {top + name: body for name, body in files.items()})
    assert Cifar10().recognises(path)
    dataset = Cifar10(validation_fraction=0.25).load(path, SPEC)
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 150, "validation": 50, "test": 20}
    assert dataset.splits["test"].labels.tolist() == [label for label in range(10) for _ in range(2)]
    assert np.array_equal(dataset.splits["test"].pixels[11], decode(files["test/dog/0001.jpg"], SPEC))


def test_no_training_image_is_in_validation_and_the_seed_decides_which(tmp_path: Path) -> None:
    path = cifar10_zip(tmp_path / "c.zip", 10, 1)

    def images(seed: int, split: str) -> set[bytes]:
        return {image.tobytes() for image in Cifar10(split_seed=seed).load(path, SPEC).splits[split].pixels}

    assert not images(777, "train") & images(777, "validation")
    assert images(777, "validation") == images(777, "validation") != images(1, "validation")


def test_the_training_images_are_there_as_jpeg_too_and_no_others(tmp_path: Path) -> None:
    path = cifar10_tar(tmp_path / "c.tar.gz", per_class=10)
    published, both = (Cifar10(jpegs=jpegs).load(path, SPEC) for jpegs in (False, True))
    assert both.fingerprint == published.fingerprint
    train = both.splits["train"]
    encoded = train.jpegs()
    assert encoded is not None
    assert (encoded[:] != train.pixels[:]).any(axis=(1, 2, 3)).mean() > 0.5  # one of one colour may stay
    differences = np.abs(encoded[:].astype(int) - train.pixels[:])
    assert differences.mean() < 20  # of 255; the pictures' noise alone is 10
    assert all(both.splits[name].jpegs() is None for name in ("validation", "test"))
    assert all(split.jpegs() is None for split in published.splits.values())
    again = Cifar10(jpegs=True).load(path, SPEC).splits["train"].jpegs()
    assert again is not None
    assert np.array_equal(again[:], encoded[:])


def test_the_jpegs_of_limited_images_are_of_these_images(tmp_path: Path) -> None:
    path = cifar10_tar(tmp_path / "c.tar.gz", per_class=10)
    whole, few = (Cifar10(jpegs=True).load(path, SPEC, limit=limit).splits["train"] for limit in (None, 10))
    of_whole, of_few = whole.jpegs(), few.jpegs()
    assert of_whole is not None
    assert of_few is not None
    for image, encoded in zip(few.pixels[:], of_few[:], strict=True):
        (at,) = np.flatnonzero((whole.pixels[:] == image).all(axis=(1, 2, 3)))
        assert np.array_equal(of_whole[at], encoded)


@pytest.mark.parametrize("make", [cifar10_zip, cifar10_tar])
def test_a_limit_is_spread_over_the_ten_classes(make: Callable[[Path], Path], tmp_path: Path) -> None:
    dataset = Cifar10().load(make(tmp_path / "c"), SPEC, limit=10)
    assert all(sorted(split.labels) == list(range(10)) for split in dataset.splits.values())


def test_a_missing_class_folder_is_named(tmp_path: Path) -> None:
    files = {name: body for name, body in cifar10_files(2, 1).items() if not name.startswith("test/frog/")}
    with pytest.raises(DatasetError, match="no images in test/frog"):
        Cifar10().load(zip_of(tmp_path / "c.zip", files), SPEC)


def test_a_missing_batch_is_named(tmp_path: Path) -> None:
    (cifar10_pickles(tmp_path) / "cifar-10-batches-py/data_batch_3").unlink()
    with pytest.raises(DatasetError, match="data_batch_3 is missing"):
        Cifar10().load(tmp_path, SPEC)


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        ({"labels": [1]}, r"expected b'data' to be uint8 \[n, 3072\], got NoneType"),
        ({"data": np.zeros((2, 3000), np.uint8), "labels": [0, 1]}, r"got uint8 \(2, 3000\)"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}, r"to be 2 numbers 0\.\.9, got list of 1"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 10]}, r"to be 2 numbers 0\.\.9"),
        ([1, 2], r"expected a pickled dict, got list of 2"),
    ],
)
def test_a_batch_of_another_shape_is_refused(batch: object, said: str, tmp_path: Path) -> None:
    files = cifar10_batches() | {"cifar-10-batches-py/data_batch_2": python2_pickle(batch)}
    with pytest.raises(DatasetError, match=f"data_batch_2: .*{said}"):
        Cifar10().load(zip_of(tmp_path / "c.zip", files), SPEC)


def test_batches_of_other_classes_are_refused(tmp_path: Path) -> None:
    meta = python2_pickle({"label_names": ["apple", "bear"]})
    with pytest.raises(DatasetError, match="expected the classes airplane"):
        Cifar10().load(zip_of(tmp_path / "c.zip", cifar10_batches() | {"cifar-10-batches-py/batches.meta": meta}), SPEC)


def test_class_folders_of_other_classes_are_not_recognised(tmp_path: Path) -> None:
    assert not Cifar10().recognises(photo_folders(tmp_path / "photos", ("train/cat", "train/dog", "test/cat")))


def test_a_fraction_that_is_none_is_refused() -> None:
    with pytest.raises(DatasetError, match="validation_fraction=30"):
        Cifar10(validation_fraction=30)


def test_the_real_archive_loads(shared_data: Path) -> None:
    dataset = Cifar10().load(shared_data / "cifar-10.zip", SPEC, limit=20)
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 20, "validation": 20, "test": 20}
