"""`training.backbones.features`: what a frozen backbone sees is computed once, and anew for anything else."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.tiny_backbone import OTHER, SPEC, TINY, WIDTH
from training.backbones import Backbone
from training.backbones.features import FeatureSet, FrozenBackbone, cached_features
from training.datasets.dataset import Dataset, Split

pytestmark = pytest.mark.slow

SPLITS = ("train", "validation")


def dataset(seed: int = 0, side: int = SPEC.height) -> Dataset:
    rng = np.random.default_rng(seed)
    labels = np.array([0, 1] * 30, np.int64)
    splits = {name: Split(rng.integers(0, 256, (60, side, side, 3), np.uint8), labels) for name in (*SPLITS, "test")}
    return Dataset("noise", ("a", "b"), splits)


def seen(cache: Path, data: Dataset | None = None, backbone: Backbone = TINY) -> FeatureSet:
    data = data or dataset()
    return cached_features(backbone, data.splits["train"].pixels.shape[1:], data, cache, SPLITS)


def test_features_are_those_of_the_backbone_whatever_the_batch(tmp_path: Path):
    data = dataset()
    features = seen(tmp_path).splits["train"]
    assert features.inputs.shape == (60, WIDTH)
    one = FrozenBackbone(TINY, SPEC.shape).features(data.splits["train"].pixels[57:58])
    np.testing.assert_allclose(features.inputs[57:58], one, atol=1e-5)
    np.testing.assert_array_equal(features.labels, data.splits["train"].labels)


def test_they_are_computed_once(tmp_path: Path):
    first, second = seen(tmp_path), seen(tmp_path)
    assert second.seconds == first.seconds  # a second computation would have taken another time
    for name in SPLITS:
        np.testing.assert_array_equal(second.splits[name].inputs, first.splits[name].inputs)


@pytest.mark.parametrize(
    ("data", "backbone"),
    [
        pytest.param(dataset(seed=1), TINY, id="other images"),
        pytest.param(dataset(side=32), TINY, id="another size"),
        pytest.param(dataset(), OTHER, id="other weights"),
    ],
)
def test_other_images_sizes_and_weights_have_features_of_their_own(data: Dataset, backbone: Backbone, tmp_path: Path):
    first = seen(tmp_path)
    other = seen(tmp_path, data, backbone)
    assert len(list(tmp_path.iterdir())) == 2
    assert not np.allclose(other.splits["train"].inputs, first.splits["train"].inputs)


def test_another_label_is_another_data_set(tmp_path: Path):
    data = dataset()
    turned = replace(data, splits={n: Split(s.pixels, 1 - s.labels) for n, s in data.splits.items()})
    first, other = seen(tmp_path), seen(tmp_path, turned)
    np.testing.assert_array_equal(other.splits["train"].labels, 1 - first.splits["train"].labels)


@pytest.mark.parametrize("left", [0, 100, -100], ids=["emptied", "cut", "cut at its end"])
def test_a_damaged_file_is_computed_anew(left: int, tmp_path: Path):
    first = seen(tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:left])
    np.testing.assert_array_equal(seen(tmp_path).splits["train"].inputs, first.splits["train"].inputs)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_what_a_killed_fit_left_half_written_goes_and_what_another_fit_writes_now_stays(tmp_path: Path):
    old, new = tmp_path / "old.half", tmp_path / "new.half"
    for half in (old, new):
        half.write_bytes(b"half")
    two_hours_ago = time.time() - 7200
    os.utime(old, (two_hours_ago, two_hours_ago))
    seen(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.half")) == ["new.half"]
