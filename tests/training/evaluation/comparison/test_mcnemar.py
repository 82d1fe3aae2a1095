"""`training.evaluation.comparison.mcnemar`: the test is exact."""

from __future__ import annotations

from math import comb

import pytest

from training.evaluation.comparison.mcnemar import mcnemar_exact


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        (0, 0, 1.0),
        (5, 5, 1.0),
        (1, 0, 1.0),
        (0, 5, 0.0625),
        (0, 6, 0.03125),
        (2, 8, 0.109375),
        (1, 7, 0.0703125),  # Fagerland, Lydersen and Laake 2013, airway hyper-responsiveness: 0.070
        (121, 59, 4.434e-06),
    ],
)
def test_the_probability_is_that_of_the_binomial_distribution(only_first: int, only_second: int, p: float) -> None:
    assert mcnemar_exact(only_first, only_second) == pytest.approx(p, rel=1e-3)


@pytest.mark.parametrize("disagreed", [1, 2, 9, 40])
def test_it_is_twice_the_tail_whichever_version_comes_first(disagreed: int) -> None:
    for fewer in range(disagreed // 2 + 1):
        tail = sum(comb(disagreed, k) for k in range(fewer + 1)) / 2**disagreed
        assert mcnemar_exact(fewer, disagreed - fewer) == pytest.approx(min(1.0, 2 * tail), rel=1e-12)
        assert mcnemar_exact(disagreed - fewer, fewer) == mcnemar_exact(fewer, disagreed - fewer)


def test_many_images_are_no_matter() -> None:
    assert mcnemar_exact(5_000, 5_000) == 1.0
    assert 0 <= mcnemar_exact(3_000, 7_000) < 1e-300
