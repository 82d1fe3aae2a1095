"""The articles' `ImageDataGenerator` settings as today's Keras layers.

The layers draw from the same distributions, one draw per image. What differs: `ImageDataGenerator` composes one affine
matrix and interpolates once, these layers interpolate one after the other, which blurs a little more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from training.recipe import Layer


def image_data_generator(
    *,
    rotation_degrees: float = 0.0,
    shift: float = 0.0,
    shear_degrees: float = 0.0,
    zoom: float = 0.0,
    horizontal_flip: bool = False,
) -> Sequence[Layer]:
    """Layers equivalent to `ImageDataGenerator(...)` with `fill_mode="nearest"`.

    Rotation is drawn from [-rotation_degrees, rotation_degrees]; shifts, a fraction of the side, from [-shift, shift]
    for each axis; zoom for x and y separately from [1 - zoom, 1 + zoom]; shear along x from [-shear_degrees,
    shear_degrees] (`ImageDataGenerator` takes degrees, so the articles' 0.2 is a fifth of a degree).
    """
    from keras import layers

    edge: dict[str, Any] = {"fill_mode": "nearest", "interpolation": "bilinear", "dtype": "float32"}
    chosen = []
    if rotation_degrees:
        chosen.append(layers.RandomRotation(rotation_degrees / 360, **edge))
    if shift:
        chosen.append(layers.RandomTranslation(shift, shift, **edge))
    if shear_degrees:
        # Keras shears by a fraction of the side, drawing from [0, x] and then a sign.
        chosen.append(layers.RandomShear(x_factor=(0.0, math.tan(math.radians(shear_degrees))), **edge))
    if zoom:
        chosen.append(layers.RandomZoom(height_factor=zoom, width_factor=zoom, **edge))
    if horizontal_flip:
        chosen.append(layers.RandomFlip("horizontal", dtype="float32"))
    return chosen
