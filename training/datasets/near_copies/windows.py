"""Windows of a picture as matrices: a part of it, sampled to the whole size.

A crop of a picture looks like a window of it. So a picture is known by its whole and by some windows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.datasets.near_copies.small_picture import SIDE

Floats = npt.NDArray[np.float32]

SCALES = (0.92, 0.84)  # sides of the windows; docs/tuning.md#near-duplicates


def _windows() -> Floats:
    found = [(0.0, 1.0, 0.0, 1.0)]
    for side in SCALES:
        for top, left in ((0.5, 0.5), (0, 0), (0, 1), (1, 0), (1, 1)):
            y, x = top * (1 - side), left * (1 - side)
            found.append((y, y + side, x, x + side))
    return np.array(found, np.float32)


WINDOWS = _windows()  # float32 [n, 4]: top, bottom, left, right, as parts of the sides; the first is the whole


def samplers(edges: Floats) -> Floats:
    """Matrices float32 [n, SIDE, SIDE] that sample the parts between edges [n, 2] of SIDE values, linearly."""
    steps = ((np.arange(SIDE) + 0.5) / SIDE).astype(np.float32)
    at = (edges[:, :1] + steps * (edges[:, 1:] - edges[:, :1])) * SIDE - 0.5
    at = np.clip(at, 0, SIDE - 1)
    low = np.floor(at).astype(np.int64)
    part = at - low
    matrices = np.zeros((len(edges), SIDE, SIDE), np.float32)
    every, row = np.arange(len(edges))[:, None], np.arange(SIDE)[None]
    matrices[every, row, low] = 1 - part
    matrices[every, row, np.minimum(low + 1, SIDE - 1)] += part
    return matrices


def cut(grey: Floats, windows: Floats) -> Floats:
    """The window [n, 4] of each picture [n, SIDE, SIDE], sampled to the whole size."""
    return np.asarray(samplers(windows[:, :2]) @ grey @ samplers(windows[:, 2:]).transpose(0, 2, 1), np.float32)
