"""Promises of `training.honesty.outliers`: pictures of nothing known, other ones for choosing than for reporting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from classifier.card import InputSpec
from tests.pictures import encoded, noise
from training.datasets import DatasetError, Split
from training.honesty.outliers.datasets import other_images
from training.honesty.outliers.made import to_choose, to_report

SPEC = InputSpec(height=24, width=32, channels=3)
GREY = InputSpec(height=28, width=28, channels=1, contrast="stretch")


def genuine(spec: InputSpec) -> Split:
    return Split(np.random.default_rng(0).integers(0, 256, (10, *spec.shape), np.uint8), np.zeros(10, np.int64))


@pytest.mark.parametrize("spec", [SPEC, GREY], ids=["colour", "grey"])
def test_made_outliers_are_what_the_network_takes_and_the_same_each_time(spec: InputSpec):
    for kinds in (to_choose(spec, genuine(spec), 3), to_report(spec, 3)):
        for _, pixels in kinds:
            assert (pixels.dtype, pixels.shape) == (np.uint8, (3, *spec.shape))
    again, first = dict(to_report(spec, 3)), dict(to_report(spec, 3))
    assert all((again[kind] == first[kind]).all() for kind in first)


def test_no_kind_is_used_both_to_choose_and_to_report():
    assert not dict(to_choose(SPEC, genuine(SPEC), 1)).keys() & dict(to_report(SPEC, 1)).keys()


def test_shuffled_tiles_have_the_genuine_pictures_pixels():
    split = genuine(SPEC)
    known = {tuple(np.sort(picture.ravel())) for picture in split.pixels}
    assert {tuple(np.sort(picture.ravel())) for picture in dict(to_choose(SPEC, split, 5))["shuffled tiles"]} <= known


def test_of_another_data_set_the_classes_that_the_model_knows_are_left_out(tmp_path: Path):
    for label, level in (("cat", 0), ("truck", 200)):
        (tmp_path / label).mkdir()
        for i in range(12):
            picture = np.full((9, 9, 3), level, np.uint8)
            picture[0, 0] = i
            (tmp_path / label / f"{i}.png").write_bytes(encoded(picture, "PNG"))
    name, pixels = other_images(tmp_path, SPEC, ("Cat", "dog"))
    assert name.endswith(", other classes")
    assert len(pixels)
    assert (np.median(pixels.reshape(len(pixels), -1), axis=1) == 200).all()
    with pytest.raises(DatasetError, match="one of the model's own labels"):
        other_images(tmp_path, SPEC, ("cat", "truck"))


def test_what_is_no_data_set_is_refused(tmp_path: Path):
    (tmp_path / "one.png").write_bytes(encoded(noise(9, 9), "PNG"))
    with pytest.raises(DatasetError):
        other_images(tmp_path, SPEC, ("cat", "dog"))
