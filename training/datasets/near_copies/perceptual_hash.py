"""A perceptual hash: pictures that look alike have hashes that differ in few bits.

The lowest frequencies of the grey picture (a cosine transform), each with whether it is above their median: "pHash".
docs/tuning.md#near-duplicates has how this one was chosen.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.datasets.near_copies.small_picture import SIDE
from training.datasets.near_copies.windows import WINDOWS, samplers

FREQUENCIES = 8  # along each side
BITS = FREQUENCIES**2 - 1  # without the mean, which brightness changes
AT_ONCE = 1_024  # pictures; no effect on the result

Floats = npt.NDArray[np.float32]
Hashes = npt.NDArray[np.uint64]


def _cosines() -> Floats:
    at = (np.arange(SIDE) + 0.5)[None] * np.arange(FREQUENCIES)[:, None]
    rows = np.cos(np.pi * at / SIDE) * np.sqrt(2 / SIDE)
    rows[0] /= np.sqrt(2)
    return np.asarray(rows, np.float32)


_DOWN = _cosines() @ samplers(WINDOWS[:, :2])  # [windows, FREQUENCIES, SIDE]
_ACROSS = _cosines() @ samplers(WINDOWS[:, 2:])


def frequencies(grey: npt.NDArray[np.uint8], window: int = 0) -> Floats:
    """Those of one of WINDOWS of pictures uint8 [n, SIDE, SIDE], without the mean: float32 [n, BITS]."""
    found = np.empty((len(grey), BITS), np.float32)
    for i in range(0, len(grey), AT_ONCE):
        part = _DOWN[window] @ grey[i : i + AT_ONCE].astype(np.float32) @ _ACROSS[window].T
        found[i : i + AT_ONCE] = part.reshape(len(part), -1)[:, 1:]
    return found


def hashes(frequencies: Floats) -> Hashes:
    """The hash of each row of `frequencies`: uint64 [n], of which BITS are used."""
    bits = frequencies > np.median(frequencies, axis=1, keepdims=True)
    packed = np.packbits(bits, axis=1)  # the last bit is always 0
    return packed.view(np.uint64)[:, 0]
