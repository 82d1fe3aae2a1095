"""What a decision rests on: a heat map by occlusion, from the served network itself and whichever engine runs it.

Windows of the picture are painted over with its mean colour. The label's loss of log-probability is credited to the
cells under them (Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, 2014, section 4). Needs no
gradients, only forward passes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from classifier.engines import Probabilities
from classifier.images import Pixels

CELLS = 10  # the map's resolution in each direction
WINDOW = 2  # a window's side in cells; docs/tuning.md#windows-of-a-heat-map
WINDOWS = (CELLS - WINDOW + 1) ** 2

Heat = npt.NDArray[np.float32]

_LEAST = 1e-7  # float32 probabilities are no finer


def occluded(pixels: Pixels) -> Iterator[Pixels]:
    """The picture, uint8 [height, width, channels], with one window painted over: WINDOWS pictures in turn."""
    paint = np.rint(pixels.mean(axis=(0, 1))).astype(np.uint8)
    for rows, columns in _windows():
        picture = pixels.copy()
        picture[_pixels(rows, pixels.shape[0]), _pixels(columns, pixels.shape[1])] = paint
        yield picture


def heat_map(whole: Probabilities, painted: npt.NDArray[np.float32], label: int) -> Heat:
    """Where the evidence for a label lies: float32 [CELLS, CELLS], 0..1, the warmest cell 1.

    `whole` is the picture's row of probabilities, `painted` those of `occluded`, float32 [WINDOWS, classes]. All zero
    where no window takes anything away from the label.
    """
    logs = np.log(np.maximum(np.append(painted[:, label], whole[label]), _LEAST))
    loss = logs[-1] - logs[:-1]
    heat, seen = np.zeros((CELLS, CELLS)), np.zeros((CELLS, CELLS))
    for amount, (rows, columns) in zip(np.maximum(loss, 0.0), _windows(), strict=True):
        heat[rows, columns] += amount
        seen[rows, columns] += 1
    heat /= seen  # cells at the rim lie under fewer windows
    return np.asarray(heat / heat.max() if heat.max() > 0 else heat, np.float32)


def overlay(heat: Heat, height: int, width: int) -> Image.Image:
    """The map as a picture to lay over the image: RGBA of that size, clear where cold, yellow to red where warm."""
    smooth = Image.fromarray(np.asarray(np.rint(heat * 255), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    warmth = np.asarray(smooth, np.float32) / 255
    colours = np.stack([np.full_like(warmth, 230), 200 * (1 - warmth), np.full_like(warmth, 20), 190 * warmth], axis=-1)
    return Image.fromarray(np.asarray(np.rint(colours), np.uint8), "RGBA")


def _windows() -> Iterator[tuple[slice, slice]]:
    for top in range(CELLS - WINDOW + 1):
        for left in range(CELLS - WINDOW + 1):
            yield slice(top, top + WINDOW), slice(left, left + WINDOW)


def _pixels(cells: slice, length: int) -> slice:
    return slice(round(cells.start * length / CELLS), round(cells.stop * length / CELLS))
