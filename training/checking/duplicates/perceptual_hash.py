"""A perceptual hash: pictures that look alike have hashes that differ in few bits.

The lowest frequencies of the grey picture (a cosine transform), each with whether it is above their median: "pHash".
docs/tuning.md#near-duplicates has how this one was chosen.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.checking.duplicates.windows import WINDOWS, samplers
from training.checking.files.sight import SIDE

FREQUENCIES = 8  # along each side
BITS = FREQUENCIES**2 - 1  # without the mean, which brightness changes
AT_ONCE = 1_024  # pictures; no effect on the result

Hashes = npt.NDArray[np.uint64]


def _cosines() -> npt.NDArray[np.float32]:
    at = (np.arange(SIDE) + 0.5)[None] * np.arange(FREQUENCIES)[:, None]
    rows = np.cos(np.pi * at / SIDE) * np.sqrt(2 / SIDE)
    rows[0] /= np.sqrt(2)
    return np.asarray(rows, np.float32)


_DOWN = _cosines() @ samplers(WINDOWS[:, :2])  # [windows, FREQUENCIES, SIDE]
_ACROSS = _cosines() @ samplers(WINDOWS[:, 2:])


def frequencies(grey: npt.NDArray[np.uint8], window: int = 0) -> npt.NDArray[np.float32]:
    """Those of one of WINDOWS of pictures uint8 [n, SIDE, SIDE], without the mean: float32 [n, BITS]."""
    found = _DOWN[window] @ grey.astype(np.float32) @ _ACROSS[window].T
    return np.asarray(found.reshape(len(grey), -1)[:, 1:])


def hashes(grey: npt.NDArray[np.uint8], window: int = 0) -> Hashes:
    """The hash of one of WINDOWS of each picture: uint64 [n], of which BITS are used."""
    parts = [_hashed(grey[i : i + AT_ONCE], window) for i in range(0, len(grey), AT_ONCE)]
    return np.concatenate(parts) if parts else np.empty(0, np.uint64)


def _hashed(grey: npt.NDArray[np.uint8], window: int) -> Hashes:
    found = frequencies(grey, window)
    bits = found > np.median(found, axis=1, keepdims=True)
    packed = np.packbits(bits, axis=1)  # the last bit is always 0
    return packed.view(np.uint64)[:, 0]
