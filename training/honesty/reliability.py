"""How far probabilities can be trusted: calibration errors, loss, Brier score, and what chance alone makes of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from classifier.card import Figure, Reliability
from training.evaluation.scores import Evaluation

BINS = 15  # as Guo et al., On Calibration of Modern Neural Networks, 2017
DRAWS = 500  # of a bootstrap, and of what chance alone makes

_EPSILON = 1e-7  # as the loss of `Evaluation`

Floats = npt.NDArray[np.float64]


def error_by_width(confidence: Floats, right: Floats) -> float:
    """Expected calibration error, 0..1, over bins of equal width: `confidence` and `right` (0 or 1) are [n]."""
    bin_of = np.digitize(confidence, np.linspace(0.0, 1.0, BINS + 1)[1:-1], right=True)
    gaps = np.bincount(bin_of, confidence - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def error_by_mass(confidence: Floats, right: Floats) -> float:
    """The same over bins of equally many images, the least confident first."""
    order = np.argsort(confidence, kind="stable")
    gaps = [float(part.sum()) for part in np.array_split((confidence - right)[order], BINS)]
    return float(np.abs(gaps).sum() / len(confidence))


def reliability(answers: Evaluation, seed: int = 0) -> Reliability:
    """The figures of one split, each with its 95 % bootstrap interval (percentiles)."""
    rows, each = answers.probabilities.astype(np.float64), np.arange(len(answers.labels))
    confidence, right = rows.max(axis=1), (answers.predicted == answers.labels).astype(np.float64)
    loss = -np.log(np.clip(rows[each, answers.labels], _EPSILON, 1.0))
    brier = (rows**2).sum(axis=1) - 2 * rows[each, answers.labels] + 1
    draw = np.random.default_rng(seed)
    drawn = [draw.integers(0, len(each), len(each)) for _ in range(DRAWS)]

    def figure(of: Callable[[npt.NDArray[np.int64]], float]) -> Figure:
        low, high = np.percentile([of(chosen) for chosen in drawn], (2.5, 97.5)).tolist()
        return Figure(value=round(of(each), 6), interval=(round(low, 6), round(high, 6)))

    return Reliability(
        error_by_width=figure(lambda chosen: error_by_width(confidence[chosen], right[chosen])),
        error_by_mass=figure(lambda chosen: error_by_mass(confidence[chosen], right[chosen])),
        loss=figure(lambda chosen: float(loss[chosen].mean())),
        brier=figure(lambda chosen: float(brier[chosen].mean())),
    )


def least_errors(answers: Evaluation, seed: int = 0) -> tuple[float, float]:
    """The errors by width and by mass that these probabilities would show on average if they were exactly right."""
    confidence, draw = answers.probabilities.max(axis=1).astype(np.float64), np.random.default_rng(seed)
    worlds = [(draw.random(len(confidence)) < confidence).astype(np.float64) for _ in range(DRAWS)]
    by_width = float(np.mean([error_by_width(confidence, right) for right in worlds]))
    return round(by_width, 6), round(float(np.mean([error_by_mass(confidence, right) for right in worlds])), 6)
