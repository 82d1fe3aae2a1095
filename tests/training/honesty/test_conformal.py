"""Promises of `training.honesty.conformal`: sets hold the right label as often as asked, on images not fitted on."""

from __future__ import annotations

import numpy as np
import pytest

from classifier.prediction_sets import prediction_set
from training.evaluation.scores import Evaluation
from training.honesty.conformal import COVERAGES, FEWEST_IMAGES, exchangeable_interval, prediction_sets, share

LABELS = tuple("abcde")


def answers(count: int, seed: int) -> Evaluation:
    """Answers that are too sure of themselves: the promise needs no calibrated ones."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 2, (count, len(LABELS)))
    powers = np.exp(logits)
    labels = (draw.random(count)[:, None] > (powers / powers.sum(axis=1, keepdims=True)).cumsum(axis=1)).sum(axis=1)
    powers = np.exp(2 * logits)
    return Evaluation((powers / powers.sum(axis=1, keepdims=True)).astype(np.float32), np.minimum(labels, 4))


def test_sets_hold_the_right_label_as_often_as_asked():
    found = prediction_sets(answers(5_000, 1), answers(20_000, 2), "validation", "test")
    assert found is not None
    assert [each.coverage for each in found.quantiles] == list(COVERAGES)
    for each in found.quantiles:
        assert each.held.value == pytest.approx(each.coverage, abs=0.015)
        assert each.held_served.value >= each.held.value
    assert sorted(each.size for each in found.quantiles) == [each.size for each in found.quantiles]


def test_the_card_counts_what_is_served():
    checked = answers(400, 3)
    found = prediction_sets(answers(500, 1), checked, "validation", "test")
    assert found is not None
    for each in found.quantiles:
        sets = [prediction_set(row, LABELS, each) for row in checked.probabilities]
        held = [
            LABELS[label] in {one.label for one in members} for members, label in zip(sets, checked.labels, strict=True)
        ]
        assert each.held_served.value == pytest.approx(np.mean(held))
        assert each.size == pytest.approx(np.mean([len(members) for members in sets]), abs=1e-4)


def test_of_few_images_the_place_is_rounded_up_so_that_the_promise_holds():
    few, many = answers(FEWEST_IMAGES, 1), answers(200, 2)
    found = prediction_sets(few, many, "validation", "test")
    assert found is not None
    scores = np.sort(1.0 - few.probabilities[np.arange(len(few.labels)), few.labels].astype(np.float64))
    assert found.quantiles[-1].quantile == scores[-1]  # the 100th of 100, for a coverage of 0.99


def test_the_card_says_how_far_from_the_coverage_chance_alone_takes_the_share():
    draw = np.random.default_rng(0)
    position, fitted, checked = 81, 100, 200  # a coverage of 0.8
    scores = draw.random((20_000, fitted + checked))
    quantiles = np.sort(scores[:, :fitted], axis=1)[:, position - 1]
    held = (scores[:, fitted:] <= quantiles[:, None]).mean(axis=1)
    low, high = exchangeable_interval(position, fitted, checked)
    assert (low, high) == pytest.approx(np.quantile(held, (0.025, 0.975)), abs=0.01)
    assert 0.94 <= ((held >= low) & (held <= high)).mean() <= 0.97
    found = prediction_sets(answers(fitted, 1), answers(checked, 2), "validation", "test")
    assert found is not None
    assert found.quantiles[0].exchangeable == (low, high)


def test_more_images_leave_less_to_chance():
    widths = [high - low for low, high in (exchangeable_interval(int(0.9 * n) + 1, n, n) for n in (100, 1_000, 10_000))]
    assert widths == sorted(widths, reverse=True)


def test_too_few_images_make_no_sets():
    assert prediction_sets(answers(FEWEST_IMAGES - 1, 1), answers(10, 2), "validation", "test") is None


def test_a_share_comes_with_its_number_of_images_and_interval():
    found = share(5, 50)
    assert (found.images, found.value) == (50, 0.1)
    assert found.interval[0] < 0.1 < found.interval[1]
