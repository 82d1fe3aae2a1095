"""A picture of any size as a small one, by which pictures are compared."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from classifier.card import InputSpec
from classifier.images import from_array
from training.datasets.pixel_block import PixelBlock
from training.progress import Counted

SIDE = 32  # of the small picture, in pixels
FLAT = 2.0  # standard deviation of the grey values, of 255, below which a picture shows nothing
_SPEC = InputSpec(height=SIDE, width=SIDE, channels=3, resize="box")
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

Floats = npt.NDArray[np.float32]
Grey = npt.NDArray[np.uint8]  # [n, SIDE, SIDE]


def shrunk(pixels: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """A picture in colour, float32 [SIDE, SIDE, 3], and in grey, [SIDE, SIDE]; values 0..255."""
    small = from_array(pixels, _SPEC).astype(np.float32)
    return small, small @ _LUMA


def grey_pictures(pixels: PixelBlock, counted: Counted) -> Grey:
    """All pictures of a block, uint8 [n, height, width, channels], small and grey."""
    grey = np.empty((len(pixels), SIDE, SIDE), np.uint8)
    for i in range(len(pixels)):
        grey[i] = np.rint(shrunk(pixels[i])[1])
        counted.add(1)
    return grey


def are_flat(grey: Grey) -> npt.NDArray[np.bool_]:
    """Which pictures are of one colour, bool [n]."""
    rows = grey.reshape(-1, SIDE * SIDE)
    squares = np.einsum("nk,nk->n", rows, rows, dtype=np.int64, casting="safe")  # without a copy in floats
    return np.asarray(squares / SIDE**2 - rows.mean(axis=1, dtype=np.float64) ** 2 < FLAT**2)
