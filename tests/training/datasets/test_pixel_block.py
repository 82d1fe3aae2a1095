"""`training.datasets.pixel_block`: images in a file are those that an array would hold."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from classifier.card import InputSpec
from tests.archives import photo_folders
from training.datasets import pixel_block
from training.datasets.dataset import Dataset, Split
from training.datasets.folders import Folders
from training.datasets.pixel_block import PixelFile, joined, new_block, taken
from training.errors import DatasetError
from training.evaluation.cross_validation import fold_datasets
from training.recipes.recipe import statistics_of

SHAPE = (5, 4, 3)
ARRAY = np.random.default_rng(0).integers(0, 256, (30, *SHAPE)).astype(np.uint8)


def in_a_file(array: np.ndarray) -> PixelFile:
    height, width, channels = array.shape[1:]
    block = PixelFile(len(array), (height, width, channels))
    for i in reversed(range(len(array))):
        block[i] = array[i]
    return block


@pytest.mark.parametrize(
    "at",
    [
        3,
        -1,
        slice(None),
        slice(4, 9),
        slice(28, 99),
        slice(5, 5),
        np.array([7, 0, 7]),
        np.array([], np.int64),
        ARRAY[:, 0, 0, 0] > 99,
    ],
    ids=["one", "last", "all", "some", "beyond", "none", "indices", "no indices", "mask"],
)
def test_a_file_is_read_as_an_array(at: object):
    found = in_a_file(ARRAY)[at]
    np.testing.assert_array_equal(found, ARRAY[at])  # type: ignore[call-overload]
    assert found.dtype == np.uint8


def test_taking_copies_nothing_and_can_be_repeated():
    block, first, second = in_a_file(ARRAY), np.array([9, 3, 5, 1]), np.array([2, 0])
    part = taken(taken(block, first), second)
    assert isinstance(part, PixelFile)
    assert part.shape == (2, *SHAPE)
    np.testing.assert_array_equal(part[:], ARRAY[[5, 9]])


def test_few_images_stay_in_memory_and_many_go_to_a_file(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pixel_block, "IN_MEMORY_BYTES", 10 * 60)
    assert isinstance(new_block(10, SHAPE), np.ndarray)
    assert isinstance(new_block(11, SHAPE), PixelFile)
    assert isinstance(new_block(5, SHAPE, beside=6), PixelFile)


@pytest.mark.parametrize("filed", [0, 1, 2])
def test_joined_blocks_stand_one_after_the_other(filed: int):
    blocks = [in_a_file(part) if i < filed else part for i, part in enumerate((ARRAY[:4], ARRAY[4:]))]
    np.testing.assert_array_equal(joined(blocks)[:], ARRAY)


def test_a_full_disk_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DatasetError, match=r"0\.6 GB .*No space left.*TMPDIR"):
        PixelFile(10_000_000, SHAPE)


def test_the_folder_of_the_file_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    with pytest.raises(DatasetError, match="missing"):
        PixelFile(1, SHAPE)


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Dataset, Dataset]:
    """The same photos in memory and in files."""
    path, spec = photo_folders(tmp_path / "photos", per_class=12, side=20), InputSpec(height=16, width=16, channels=3)
    in_memory = Folders().load(path, spec)
    monkeypatch.setattr(pixel_block, "IN_MEMORY_BYTES", 0)
    return in_memory, Folders().load(path, spec)


def test_a_data_set_in_files_is_the_same_data_set(both: tuple[Dataset, Dataset]):
    in_memory, filed = both
    assert {type(split.pixels) for split in filed.splits.values()} == {PixelFile}
    assert filed.fingerprint == in_memory.fingerprint
    assert statistics_of(filed) == statistics_of(in_memory)


def test_folds_of_a_data_set_in_files_are_those_in_memory(both: tuple[Dataset, Dataset]):
    for one, other in zip(*(fold_datasets(each, 3, seed=0) for each in both), strict=True):
        assert one.fingerprint == other.fingerprint


def test_statistics_are_those_of_the_numbers(both: tuple[Dataset, Dataset]):
    pixels = np.concatenate([both[0].splits[name].pixels[:] for name in ("train", "validation")]).astype(np.float64)
    found = statistics_of(both[1])
    np.testing.assert_allclose(found.mean, pixels.mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(found.deviation, pixels.std(axis=(0, 1, 2)))


@pytest.mark.slow
def test_a_fit_takes_the_same_course_from_files(both: tuple[Dataset, Dataset], tmp_path: Path):
    from tests.training.tiny_backbone import on_tiny
    from training.fitting.fit import fit
    from training.fitting.options import FitOptions

    recipe = replace(on_tiny("finetuned"), input=InputSpec(height=16, width=16, channels=3))
    histories = [
        fit(recipe, each, FitOptions("photos", tmp_path / str(i) / "run", precision="float32")).history
        for i, each in enumerate(both)
    ]
    np.testing.assert_allclose(*([row[2:] for row in history] for history in histories), atol=1e-5)


def test_a_split_may_be_taken_from_a_file():
    split = Split(in_a_file(ARRAY), np.arange(30)).take(np.array([4, 2]))
    np.testing.assert_array_equal(split.pixels[:], ARRAY[[4, 2]])
    assert split.labels.tolist() == [4, 2]
