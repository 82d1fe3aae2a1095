"""The figure by groups is worth what its groups and folds are."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.checking.photos import photo
from tests.training.evaluation.grouped_letters import folds_of, groups_of, interval, joined
from training.datasets.dataset import Split
from training.evaluation.scores import wilson_interval


def test_those_most_alike_are_joined_until_none_is_alike_enough() -> None:
    alike = np.array([[1, 0.9, 0.2, 0.1], [0.9, 1, 0.6, 0.1], [0.2, 0.6, 1, 0.1], [0.1, 0.1, 0.1, 1]])
    assert [joined(alike, least).tolist() for least in (0.95, 0.5, 0.4, 0.0)] == [
        [0, 1, 2, 3],
        [0, 0, 1, 2],
        [0, 0, 0, 1],  # the third is alike to the first two by 0.4 on average
        [0, 0, 0, 0],
    ]


def test_frames_of_one_scene_are_a_group_and_a_group_has_one_letter() -> None:
    scenes = [np.asarray(photo(seed, 28, 28).convert("L"))[..., None] for seed in range(6)]
    frames = np.stack([np.clip(scene.astype(int) + light, 0, 255) for scene in scenes for light in (0, 4, 9)])
    images = Split(frames.astype(np.uint8), np.repeat([0, 1], 9))
    groups = groups_of(images, least=0.9)
    np.testing.assert_array_equal(groups, groups[::3].repeat(3))
    assert len(np.unique(groups)) == 6


def test_a_group_is_in_one_fold_and_each_fold_has_each_letter() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 40, 600)
    labels = groups % 4
    folds = folds_of(groups, labels, 5)
    assert all(len(np.unique(folds[groups == group])) == 1 for group in range(40))
    counts = np.array([np.bincount(labels[folds == fold], minlength=4) for fold in range(5)])
    assert (counts > 0.6 * counts.mean(axis=0)).all()


def test_an_interval_over_groups_of_one_image_is_that_of_images_and_over_large_ones_wider() -> None:
    right = np.arange(400) % 10 > 0
    alone = interval(right, np.arange(400))
    assert alone == pytest.approx(wilson_interval(360, 400), abs=0.01)
    by_tens = interval(np.arange(400) % 100 >= 10, np.arange(400) // 10)
    assert by_tens[1] - by_tens[0] > 2 * (alone[1] - alone[0])
