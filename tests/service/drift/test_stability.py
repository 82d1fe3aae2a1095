"""The population stability index, held to its formula, to other sources and to chance."""

from __future__ import annotations

import math

import numpy as np
import pytest

from service.drift.stability import stability

MANY = 1_000_000  # images, beside which the half image in each category is nothing


def test_the_index_is_the_formulas() -> None:
    found = stability([MANY // 2, MANY // 2], [MANY // 4, MANY // 4 * 3])
    by_hand = (0.25 - 0.5) * math.log(0.25 / 0.5) + (0.75 - 0.5) * math.log(0.75 / 0.5)
    assert found.plain == pytest.approx(by_hand, rel=1e-4)
    assert sum(found.parts) == pytest.approx(found.plain)
    assert found.psi == pytest.approx(by_hand, rel=1e-2)
    assert found.low < by_hand < found.high


def test_equal_shares_have_an_index_of_nothing() -> None:
    assert stability([300, 700], [300, 700])[:2] == (0, 0)


def test_both_may_be_exchanged() -> None:
    assert stability([10, 90], [40, 60]).plain == pytest.approx(stability([40, 60], [10, 90]).plain)


def test_an_empty_category_is_no_division_by_nothing() -> None:
    found = stability([0, 100], [100, 0])
    assert math.isfinite(found.high)
    assert found.low > 1


def test_the_same_counts_give_the_same_interval() -> None:
    assert stability([5, 95], [20, 80]) == stability([5, 95], [20, 80])


def test_what_chance_adds_is_taken_off() -> None:
    """By the formula alone images of the very same kind would seem to change."""
    rng, shares = np.random.default_rng(1), np.full(20, 0.05)
    found = [stability(rng.multinomial(400, shares), rng.multinomial(400, shares)) for _ in range(20)]
    assert np.mean([one.plain for one in found]) == pytest.approx(19 * (1 / 400 + 1 / 400), rel=0.2)
    assert np.mean([one.psi for one in found]) < 0.03
    assert all(one.low < 0.1 for one in found)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    before, after = np.array([0.05, 0.15, 0.2, 0.6]), np.array([0.15, 0.25, 0.2, 0.4])
    truth = float(((after - before) * np.log(after / before)).sum())
    found = [stability(rng.multinomial(1_000, before), rng.multinomial(500, after)) for _ in range(60)]
    assert sum(one.low <= truth <= one.high for one in found) >= 53  # of 57 in the mean; 53 with 97 %


def test_a_model_of_many_labels_is_compared_in_parts() -> None:
    labels = 1_500
    found = stability([40] * labels, [10] * (labels // 2) + [70] * (labels // 2))
    assert found.low < found.psi < found.high
    assert found.psi == pytest.approx(found.plain, rel=0.1)
