"""How alike two small pictures are once one is laid over the other, brightness and contrast aside.

A hash that is near says that two pictures may be the same. Here the window of the one that fits the other best is
sought, and both are compared part by part (structural similarity, Wang et al. 2004). So two cups on one table are known
as two, whose hashes are alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from training.datasets.near_copies.small_picture import SIDE
from training.datasets.near_copies.windows import cut

STEPS = 5  # of the search for the window
FARTHEST = 0.06  # by which an edge moves in a step, as a part of the side
LEAST_EDGES, MOST_EDGES = (-0.05, 0.65, -0.05, 0.65), (0.35, 1.05, 0.35, 1.05)  # top, bottom, left, right
DAMPED = 1e-4  # part of the curvature that is added to it
PARTS = 4  # along each side that are compared
STABLE = 0.05  # of the variance, so that parts without structure count as alike
LEAST_MEAN, LEAST_PART = 0.9, 0.5  # docs/tuning.md#near-duplicates

Floats = npt.NDArray[Any]  # float32, but for the search


def are_alike(one: Floats, other: Floats, windows: Floats) -> npt.NDArray[np.bool_]:
    """Whether `other` is `one`, or a window of it near to that of `windows` [n, 4]; pictures are [n, SIDE, SIDE]."""
    other = _normalised(_smooth(other))
    alike = _enough(_likeness(one, other, windows))
    rest = np.flatnonzero(~alike)  # often none: a better window is sought only for these
    if len(rest):
        fitted = _fitted(one[rest], other[rest], windows[rest])
        alike[rest] = _enough(_likeness(one[rest], other[rest], fitted))
    return alike


def _enough(similar: Floats) -> npt.NDArray[np.bool_]:
    return np.asarray((similar.mean(axis=1) >= LEAST_MEAN) & (similar.min(axis=1) >= LEAST_PART))


def _likeness(one: Floats, other: Floats, windows: Floats) -> Floats:
    """The structural similarity of each part, -1 to 1, of `other` and the window of `one`: [n, PARTS squared]."""
    return _similarity(_normalised(_smooth(cut(one, windows))), other)


def _fitted(one: Floats, other: Floats, windows: Floats) -> Floats:
    """The windows of `one` that look most like `other`, found step by step (Lucas and Kanade 1981)."""
    best, kept = np.full(len(one), -np.inf, np.float32), windows.copy()
    for step in range(STEPS + 1):
        seen = _smooth(cut(one, windows))
        agreement = (_normalised(seen) * other).mean((1, 2))
        better = agreement > best
        best[better] = agreement[better]
        kept[better] = windows[better]
        if step < STEPS:
            windows = _moved(windows, seen, other)
    return kept


def _moved(windows: Floats, seen: Floats, other: Floats) -> Floats:
    """Windows one step nearer: what is seen is taken to change evenly with each of the four edges."""
    seen = _normalised(seen)
    down, across = (gradient * SIDE for gradient in np.gradient(seen, axis=(1, 2)))
    down /= np.maximum(windows[:, 1] - windows[:, 0], 0.1)[:, None, None]
    across /= np.maximum(windows[:, 3] - windows[:, 2], 0.1)[:, None, None]
    part = ((np.arange(SIDE) + 0.5) / SIDE).astype(np.float32)
    y, x = part[:, None], part[None]
    changes = np.stack([down * (1 - y), down * y, across * (1 - x), across * x, seen], axis=-1)
    columns: Floats = changes.reshape(len(seen), -1, changes.shape[-1]).astype(np.float32)
    columns = columns - columns.mean(axis=1, keepdims=True)  # an even change of brightness says nothing
    square = (columns.transpose(0, 2, 1) @ columns).astype(np.float64)
    rows = np.arange(square.shape[1])
    square[:, rows, rows] = square[:, rows, rows] * (1 + DAMPED) + 1e-9
    right = columns.transpose(0, 2, 1) @ other.reshape(len(other), -1, 1)
    solved = np.linalg.solve(square, right.astype(np.float64))[..., 0]
    gain = np.where(np.abs(solved[:, 4:]) < 1e-9, 1e-9, solved[:, 4:])
    moved: Floats = windows + np.clip(solved[:, :4] / gain, -FARTHEST, FARTHEST)
    return np.asarray(np.clip(moved, LEAST_EDGES, MOST_EDGES), np.float32)


def _similarity(one: Floats, other: Floats) -> Floats:
    """By parts, of pictures of mean 0 and deviation 1."""
    mean_one, mean_other = _by_part(one), _by_part(other)
    both = 2 * (_by_part(one * other) - mean_one * mean_other) + STABLE
    each = _by_part(one**2) - mean_one**2 + _by_part(other**2) - mean_other**2 + STABLE
    light = (2 * mean_one * mean_other + STABLE) / (mean_one**2 + mean_other**2 + STABLE)
    similar: Floats = light * both / each
    return similar


def _by_part(pictures: Floats) -> Floats:
    size = SIDE // PARTS
    means: Floats = pictures.reshape(len(pictures), PARTS, size, PARTS, size).mean((2, 4)).reshape(len(pictures), -1)
    return means


def _smooth(pictures: Floats) -> Floats:
    """A blur of one pixel, since two encodings differ in the finest detail."""
    wide = np.pad(pictures, ((0, 0), (1, 1), (1, 1)), "edge")
    rows = (wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]) / 4
    smooth: Floats = (rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 4
    return smooth


def _normalised(pictures: Floats) -> Floats:
    """Mean 0 and deviation 1."""
    centred = pictures - pictures.mean((1, 2), keepdims=True)
    normalised: Floats = centred / np.maximum(centred.std((1, 2), keepdims=True), 1e-3)
    return normalised
