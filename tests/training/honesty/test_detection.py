"""Promises of `training.honesty.detection` and `methods`: how well a score tells familiar images from others."""

from __future__ import annotations

import numpy as np
import pytest

from training.honesty import methods
from training.honesty.detection import auroc, auroc_figure, false_positive_rate

GENUINE, OUTLIERS = np.array([3.0, 4, 5, 6]), np.array([1.0, 2, 3, 5])


def test_auroc_is_how_often_a_genuine_image_is_above_an_outlier_and_equals_count_half():
    pairs = [(g > o) + 0.5 * (g == o) for g in GENUINE for o in OUTLIERS]
    assert auroc(GENUINE, OUTLIERS) == pytest.approx(np.mean(pairs))
    assert auroc(OUTLIERS, GENUINE) == pytest.approx(1 - np.mean(pairs))


def test_its_interval_holds_it_and_narrows_with_more_images():
    draw = np.random.default_rng(0)
    few = auroc_figure(draw.normal(1, 1, 50), draw.normal(0, 1, 50))
    many = auroc_figure(draw.normal(1, 1, 2_000), draw.normal(0, 1, 2_000))
    assert few.interval[0] <= few.value <= few.interval[1]
    assert many.interval[1] - many.interval[0] < few.interval[1] - few.interval[0]


def test_the_outliers_that_get_by_are_counted_where_so_many_genuine_images_are_kept():
    genuine = np.arange(100.0)
    assert false_positive_rate(genuine, np.array([0.0, 1, 2, 50]), kept=0.95) == 0.25


LOGITS = np.array([[9.0, 0, 0], [0.2, 0.1, 0]])
ROWS = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    "scores",
    [
        pytest.param(methods.maximum_probability(ROWS.astype(np.float32)), id="maximum probability"),
        pytest.param(methods.energy(LOGITS), id="energy"),
        pytest.param(methods.generalised_entropy(ROWS.astype(np.float32)), id="generalised entropy"),
    ],
)
def test_a_sure_answer_counts_as_more_familiar_than_an_unsure_one(scores: np.ndarray):
    assert scores[0] > scores[1]


def test_energy_is_the_logarithm_of_the_sum_of_powers():
    assert methods.energy(LOGITS) == pytest.approx(np.log(np.exp(LOGITS).sum(axis=1)))


def test_features_near_the_stored_ones_count_as_familiar():
    stored = np.random.default_rng(0).normal(0, 0.1, (100, 4))
    near, far = methods.nearest_neighbours(stored, np.array([[0.0, 0, 0, 0], [1, 0, 0, 0]]))
    assert near > far


def test_a_virtual_logit_grows_off_the_directions_of_the_features():
    draw = np.random.default_rng(0)
    features = draw.normal(0, 1, (500, 4)) * [1, 1, 0.01, 0.01]
    logits = features[:, :2] * 5
    scored = methods.VirtualLogit(features, logits)
    along, off = scored(np.array([[1.0, 0, 0, 0], [1, 0, 1, 0]]), np.array([[5.0, 0], [5, 0]]))
    assert along > off
