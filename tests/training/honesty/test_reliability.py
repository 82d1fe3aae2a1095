"""Promises of `training.honesty.reliability`: figures that say how far probabilities can be trusted."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.scores import Evaluation
from training.honesty.reliability import error_by_mass, error_by_width, least_errors, reliability


def test_errors_are_the_gap_between_how_sure_and_how_right_the_answers_are():
    confidence, right = np.array([0.9] * 10), np.array([1.0] * 6 + [0.0] * 4)
    assert error_by_width(confidence, right) == pytest.approx(0.3)


def test_bins_of_equal_mass_part_what_bins_of_equal_width_hide():
    confidence = np.concatenate([np.full(75, 0.991), np.full(75, 0.999)])
    right = np.concatenate([np.zeros(75), np.ones(75)])
    assert error_by_width(confidence, right) == pytest.approx(0.495)
    assert error_by_mass(confidence, right) == pytest.approx(0.496, abs=1e-3)
    right = np.concatenate([np.ones(75) * 0.98, np.ones(75) * 1.01])  # gaps that even out in one wide bin
    assert error_by_width(confidence, right) < 0.001 < error_by_mass(confidence, right)


def calibrated(count: int) -> Evaluation:
    draw = np.random.default_rng(0)
    top = draw.uniform(0.5, 1.0, count).astype(np.float32)
    labels = (draw.random(count) > top).astype(np.int64)
    return Evaluation(np.stack([top, 1 - top], axis=1), labels)


def test_every_figure_lies_in_its_interval_and_a_calibrated_networks_error_is_what_chance_makes():
    answers = calibrated(4_000)
    found = reliability(answers)
    for figure in (found.loss, found.brier):
        assert figure.interval[0] < figure.value < figure.interval[1]
    assert found.brier.value == pytest.approx(
        np.mean(2 * (answers.labels - answers.probabilities[:, 1]) ** 2), abs=1e-5
    )
    by_width, by_mass = least_errors(answers)
    assert found.error_by_width.value == pytest.approx(by_width, abs=0.01)
    assert found.error_by_mass.value == pytest.approx(by_mass, abs=0.01)


def test_the_least_error_falls_with_the_number_of_images():
    assert least_errors(calibrated(200))[0] > 2 * least_errors(calibrated(5_000))[0]
