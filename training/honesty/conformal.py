"""Split-conformal prediction sets: one quantile per coverage, fitted on validation images and checked on others.

The score of an image is 1 minus the probability of its right label (Sadinle, Lei and Wasserman, Least Ambiguous
Set-Valued Classifiers with Bounded Error Levels, 2019). Of n scores the one in position ceil((n + 1) coverage) is the
quantile; so the promise holds for few images too.
"""

from __future__ import annotations

import math

import numpy as np

from classifier.card import PredictionSetRecord, SetQuantile, Share
from training.evaluation.scores import Evaluation, wilson_interval

COVERAGES = (0.8, 0.9, 0.95, 0.99)
FEWEST_IMAGES = 100  # of fewer, a coverage of 0.99 has no quantile


def share(part: int, whole: int) -> Share:
    """A share of so many images and its 95 % Wilson interval."""
    low, high = wilson_interval(part, whole)
    return Share(images=whole, value=round(part / whole, 6), interval=(round(low, 6), round(high, 6)))


def prediction_sets(
    validation: Evaluation, checked: Evaluation, fitted_on: str, checked_on: str
) -> PredictionSetRecord | None:
    """The card's record; None where there are too few validation images."""
    if len(validation.labels) < FEWEST_IMAGES:
        return None
    scores = np.sort(1.0 - _of_the_right_label(validation))
    return PredictionSetRecord(
        fitted_on=fitted_on,
        fitted_images=len(scores),
        checked_on=checked_on,
        quantiles=tuple(_quantile(coverage, scores, checked) for coverage in COVERAGES),
    )


def _quantile(coverage: float, scores: np.ndarray, checked: Evaluation) -> SetQuantile:
    position = position_of(coverage, len(scores))
    quantile = float(scores[position - 1])
    low, high = exchangeable_interval(position, len(scores), len(checked.labels))
    least = 1.0 - quantile
    right, top = _of_the_right_label(checked), checked.predicted == checked.labels
    members = checked.probabilities.astype(np.float64) >= least
    return SetQuantile(
        coverage=coverage,
        quantile=quantile,
        held=share(int((right >= least).sum()), len(right)),
        exchangeable=(round(low, 6), round(high, 6)),
        held_served=share(int(((right >= least) | top).sum()), len(right)),
        size=round(float(np.maximum(members.sum(axis=1), 1).mean()), 4),
    )


def position_of(coverage: float, fitted: int) -> int:
    """Which of so many scores, the lowest first and from 1, is the quantile."""
    return min(math.ceil((fitted + 1) * coverage), fitted)


def exchangeable_interval(position: int, fitted: int, checked: int) -> tuple[float, float]:
    """Between which shares of `checked` images chance alone leaves those whose sets hold the right label, with 95 %.

    The quantile is in `position`, from 1, of `fitted` scores. For exchangeable images without equal scores the number
    of sets that hold it has a beta-binomial distribution (Angelopoulos and Bates, Conformal Prediction: A Gentle
    Introduction, 2023).
    """
    above = fitted + 1 - position
    steps = np.arange(checked)  # from one number to the next the probability changes by a ratio
    ratios = (checked - steps) / (steps + 1) * (steps + position) / (checked - steps - 1 + above)
    logs = np.concatenate([[0.0], np.cumsum(np.log(ratios))])
    below = np.cumsum(np.exp(logs - logs.max()))
    low, high = (int(np.searchsorted(below / below[-1], tail)) for tail in (0.025, 0.975))
    return low / checked, high / checked


def _of_the_right_label(answers: Evaluation) -> np.ndarray:
    return np.asarray(answers.probabilities[np.arange(len(answers.labels)), answers.labels], np.float64)
