"""Features without a pretrained network: where which colour is, and where edges run which way.

They know left from right, which the features of ImageNet hardly do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

SIDE = 64  # pixels of the pictures they are made of
COLOUR_CELLS, EDGE_CELLS, DIRECTIONS = 8, 8, 8

Floats = npt.NDArray[Any]  # float32


def simple_features(pixels: npt.NDArray[np.uint8]) -> Floats:
    """uint8 [n, SIDE, SIDE, 3] to float32 [n, k], each kind of feature with mean square 1."""
    values = pixels.astype(np.float32) / 255
    colours = _cells(values, COLOUR_CELLS)
    return np.concatenate([_scaled(colours - 0.5), _scaled(_edges(values.mean(-1)))], axis=1)


def _edges(grey: Floats) -> Floats:
    """How much edge runs in each of DIRECTIONS in each cell, relative to all of the picture."""
    down, across = np.gradient(grey, axis=(1, 2))
    strength = np.hypot(down, across)
    turn = (np.arctan2(down, across) / (2 * np.pi) * DIRECTIONS) % DIRECTIONS
    low = np.floor(turn).astype(np.int64) % DIRECTIONS
    part = turn - np.floor(turn)
    steps = np.arange(DIRECTIONS)
    low, part = low[..., None], part[..., None]
    share = (low == steps) * (1 - part) + ((low + 1) % DIRECTIONS == steps) * part
    found = np.sqrt(_cells(share * strength[..., None], EDGE_CELLS))
    return np.asarray(found / np.maximum(np.sqrt((found**2).mean(axis=1, keepdims=True)), 1e-3))


def _cells(values: Floats, cells: int) -> Floats:
    """The means of cells by cells parts of [n, SIDE, SIDE, k], flat: [n, cells * cells * k]."""
    size = SIDE // cells
    shape = (len(values), cells, size, cells, size, values.shape[-1])
    return np.asarray(values.reshape(shape).mean((2, 4)).reshape(len(values), -1), np.float32)


def _scaled(rows: Floats) -> Floats:
    return rows / np.float32(rows.shape[1] ** 0.5)
