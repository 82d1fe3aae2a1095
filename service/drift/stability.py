"""The population stability index (PSI) of two sets of counts, and how sure it is.

PSI = sum over all categories of (now - expected) * ln(now / expected), both as shares. It is 0 where both are the same.
Formula, and what to make of it (below 0.1 no change, from 0.25 a large one): N. Siddiqi, Credit Risk Scorecards, 2006.
Of few images it is large by chance alone, by about (categories - 1) * (1 / images expected + 1 / images now):
B. Yurdakul, J. Naranjo, Statistical properties of the population stability index, Journal of Risk Model Validation,
2020. So what chance adds is taken off here, and an interval says how sure the rest is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

UNSEEN = 0.5  # images added to each category, since the logarithm of an empty one is infinite
DRAWS = 1_000
_SEED = 0  # the same counts give the same interval
_CELLS = 1_000_000  # numbers held at once, for models of many labels

Shares = npt.NDArray[np.float64]


class Stability(NamedTuple):
    """`psi` is the index without what chance adds, from `low` to `high` with 95 %; all are 0 or more.

    `plain` is the index by the formula alone, `parts` what each category adds to it.
    """

    psi: float
    low: float
    high: float
    plain: float
    parts: tuple[float, ...]


def stability(expected: Sequence[int], now: Sequence[int]) -> Stability:
    """Compare counts of the same categories. Both hold an image at least."""
    before, after = _shares(np.asarray(expected)), _shares(np.asarray(now))
    parts = _parts(before, after)
    plain = float(parts.sum())
    drawn = np.concatenate(list(_drawn(before, sum(expected), after, sum(now))))
    # The basic bootstrap: what was drawn lies as far from `plain` as `plain` lies from the truth.
    low, high = np.clip(2 * plain - np.percentile(drawn, [97.5, 2.5]), 0, None).tolist()
    psi = float(np.clip(2 * plain - drawn.mean(), low, high))
    return Stability(psi, low, high, plain, tuple(parts.tolist()))


def _shares(counts: npt.NDArray[np.int64]) -> Shares:
    filled = counts + UNSEEN
    return np.asarray(filled / filled.sum(axis=-1, keepdims=True), np.float64)


def _parts(before: Shares, after: Shares) -> Shares:
    return (after - before) * np.log(after / before)


def _drawn(before: Shares, images_before: int, after: Shares, images_after: int) -> Iterator[Shares]:
    """The index of as many images, drawn again and again with the shares that were found."""
    rng = np.random.default_rng(_SEED)
    at_once = max(1, _CELLS // len(before))
    for begin in range(0, DRAWS, at_once):
        times = min(at_once, DRAWS - begin)
        drawn = rng.multinomial(images_before, before, times), rng.multinomial(images_after, after, times)
        yield _parts(_shares(drawn[0]), _shares(drawn[1])).sum(axis=1)
