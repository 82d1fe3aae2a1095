"""Promises of `training.honesty.distance`: what lies where no training image lies is far."""

from __future__ import annotations

import numpy as np
import pytest

from training.honesty.distance import IMAGES_PER_DIRECTION, fit_distance

DRAW = np.random.default_rng(0)
MEANS = np.array([[2.0, 0, 0, 0, 0, 0], [-2.0, 0, 0, 0, 0, 0]])
LABELS = np.arange(2_000) % 2
WIDTHS = np.array([1.0, 0.5, 0.1, 0.1, 0.01, 0.01])
IMAGES = MEANS[LABELS] + DRAW.normal(0, 1, (2_000, 6)) * WIDTHS


def test_with_every_direction_it_is_the_distance_to_the_nearest_mean_by_the_common_covariance():
    fitted = fit_distance(IMAGES, LABELS, rank=6)
    means = np.stack([IMAGES[label == LABELS].mean(axis=0) for label in (0, 1)])
    spread = IMAGES - means[LABELS]
    inverse = np.linalg.inv(spread.T @ spread / len(IMAGES))
    point = np.array([[1.0, 1, 0, 0, 0.1, 0]])
    expected = min(((point - mean) @ inverse @ (point - mean).T).item() for mean in means)
    assert fitted.of(point)[0] == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("rank", [3, 6])
def test_images_off_the_directions_of_training_are_far_with_all_directions_or_half(rank: int):
    fitted = fit_distance(IMAGES, LABELS, rank)
    genuine = fitted.of(MEANS[LABELS] + DRAW.normal(0, 1, (2_000, 6)) * WIDTHS)
    odd = fitted.of(MEANS[LABELS] + np.array([0, 0, 0, 0, 0.5, 0.5]))
    assert odd.min() > np.quantile(genuine, 0.99)
    # One for each direction: outside of the first three, for each that is as wide as the widest of them.
    assert genuine.mean() == pytest.approx(rank if rank == 6 else 4, rel=0.2)


def test_between_two_classes_is_far_only_where_classes_are_told_apart():
    between = np.zeros((1, 6))
    apart, together = fit_distance(IMAGES, LABELS, 6), fit_distance(IMAGES, None, 6)
    assert apart.of(between)[0] > together.of(between)[0]


def test_the_rank_is_no_more_than_the_images_and_their_numbers_support():
    few = IMAGES[: 3 * IMAGES_PER_DIRECTION]
    assert fit_distance(few, None, rank=6).rank == 3
    assert fit_distance(IMAGES, None, rank=100).rank == 6


def test_a_number_that_never_differs_does_no_harm():
    still = np.concatenate([IMAGES, np.zeros((len(IMAGES), 1))], axis=1)
    assert np.isfinite(fit_distance(still, LABELS, rank=7).of(still)).all()
