"""The articles' `ImageDataGenerator` settings as layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from training.layers.layer import Layer

if TYPE_CHECKING:
    from training.layers.random_affine import Interpolation


def image_data_generator(
    *,
    rotation_degrees: float = 0.0,
    shift: float = 0.0,
    shear_degrees: float = 0.0,
    zoom: float = 0.0,
    horizontal_flip: bool = False,
    interpolation: Interpolation = "bilinear",
) -> Sequence[Layer]:
    """Layers equivalent to `ImageDataGenerator(...)` with `fill_mode="nearest"`: the same maps, one interpolation.

    `RandomAffine` says what is drawn. `shear_degrees` are degrees, as `ImageDataGenerator`'s are, so the articles' 0.2
    is a fifth of a degree. `ImageDataGenerator` took the nearest pixel until December 2017 and interpolates bilinearly
    since (keras-team/keras, pull request 8849).
    """
    from keras import layers

    from training.layers.random_affine import RandomAffine

    chosen: list[Layer] = []
    if rotation_degrees or shift or shear_degrees or zoom:
        affine = RandomAffine(
            rotation_degrees=rotation_degrees,
            shift=shift,
            shear_degrees=shear_degrees,
            zoom=zoom,
            interpolation=interpolation,
            dtype="float32",
        )
        chosen.append(affine)
    if horizontal_flip:
        chosen.append(layers.RandomFlip("horizontal", dtype="float32"))
    return chosen
