"""`training.datasets.sampling`: which images go where."""

from __future__ import annotations

import numpy as np
import pytest

from training.datasets.sampling import check_fraction, hold_out, spread
from training.errors import DatasetError


def test_every_image_is_either_kept_or_held_out() -> None:
    kept, held = hold_out(100, 0.3, seed=1)
    assert (len(kept), len(held)) == (70, 30)
    assert sorted([*kept, *held]) == list(range(100))


def test_a_seed_gives_one_split_and_another_seed_another() -> None:
    assert np.array_equal(hold_out(100, 0.3, seed=1)[1], hold_out(100, 0.3, seed=1)[1])
    assert not np.array_equal(hold_out(100, 0.3, seed=1)[1], hold_out(100, 0.3, seed=2)[1])


def test_without_a_limit_all_images_stay_in_order() -> None:
    assert spread([1, 0, 1], None).tolist() == [0, 1, 2]


@pytest.mark.parametrize("limit", [3, 4, 10, 29, 30, 31, 1000])
def test_a_limit_is_spread_evenly_over_the_classes(limit: int) -> None:
    labels = np.repeat([0, 1, 2], 10)
    counts = np.bincount(labels[spread(labels, limit)])
    assert counts.sum() == min(limit, 30)
    assert counts.max() - counts.min() <= 1


def test_a_class_with_few_images_leaves_its_share_to_the_others() -> None:
    labels = np.array([0] * 2 + [1] * 50)
    assert np.bincount(labels[spread(labels, 12)]).tolist() == [2, 10]


def test_the_first_images_of_each_class_are_taken() -> None:
    assert spread([0, 0, 1, 1, 0, 1], 4).tolist() == [0, 1, 2, 3]


def test_a_limit_below_one_image_of_each_class_is_refused() -> None:
    with pytest.raises(DatasetError, match="limit=2 is fewer than one image of each of 3 classes"):
        spread([0, 1, 2, 0], 2)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 30.0, float("nan")])
def test_a_fraction_lies_between_0_and_1(fraction: float) -> None:
    with pytest.raises(DatasetError, match="validation_fraction="):
        check_fraction("validation_fraction", fraction)
