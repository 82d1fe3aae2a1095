"""Rotation, shift, shear and zoom in one step: the random affine of Keras' `ImageDataGenerator`, as a layer."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from training.layers.layer import Interpolation

_DRAWN = 6  # numbers an image: angle, shift along x and y, shear, zoom along x and y


class RandomAffine(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Draws one affine map for each image and interpolates once; what lies outside repeats the edge.

    Takes and gives float [n, height, width, channels] in the range of the pixels; unchanged unless `training`. The map
    and the distributions are those of `ImageDataGenerator.get_random_transform` and `apply_affine_transform` in Keras
    3.15 (`keras/src/legacy/preprocessing/image.py`): about the centre of the image, a point of the result is moved to
    the point whose pixel it shows.

    Rotation is drawn from [-rotation_degrees, rotation_degrees]; the shift of each axis, a fraction of its side, from
    [-shift, shift]; shear from [-shear_degrees, shear_degrees]; zoom of each axis from [1 - zoom, 1 + zoom].
    """

    def __init__(
        self,
        *,
        rotation_degrees: float = 0.0,
        shift: float = 0.0,
        shear_degrees: float = 0.0,
        zoom: float = 0.0,
        interpolation: Interpolation = "bilinear",
        seed: int | None = None,
        **layer: Any,
    ) -> None:
        super().__init__(**layer)
        if not 0 <= zoom < 1:
            raise ValueError(f"zoom={zoom}: expected a number from 0 to below 1, for factors of 1 - zoom to 1 + zoom")
        self.rotation_degrees = rotation_degrees
        self.shift = shift
        self.shear_degrees = shear_degrees
        self.zoom = zoom
        self.interpolation = interpolation
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, images: Any, training: bool = False) -> Any:
        if not training:
            return images
        images = ops.cast(images, self.compute_dtype)
        count, height, width, _ = ops.shape(images)
        return ops.image.affine_transform(
            images, self.maps(count, height, width), interpolation=self.interpolation, fill_mode="nearest"
        )

    def maps(self, count: int, height: int, width: int) -> Any:
        """One map for each of `count` images, float32 [count, 8], as `keras.ops.image.affine_transform` takes them.

        The first six numbers of a row are a, b, c, d, e, f: the pixel shown at (x, y), column and row, is that at
        (a x + b y + c, d x + e y + f) of the image.
        """
        drawn = keras.random.uniform((_DRAWN, count), -1.0, 1.0, dtype="float32", seed=self.generator)
        angle = drawn[0] * math.radians(self.rotation_degrees)
        right, down = drawn[1] * self.shift * width, drawn[2] * self.shift * height
        slant = angle + drawn[3] * math.radians(self.shear_degrees)
        wide, tall = 1 + drawn[4] * self.zoom, 1 + drawn[5] * self.zoom

        a, b = ops.cos(angle) * wide, -ops.sin(slant) * tall
        d, e = ops.sin(angle) * wide, ops.cos(slant) * tall
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
        c = middle_x + ops.cos(angle) * right - ops.sin(angle) * down - a * middle_x - b * middle_y
        f = middle_y + ops.sin(angle) * right + ops.cos(angle) * down - d * middle_x - e * middle_y
        nothing = ops.zeros_like(a)
        return ops.stack([a, b, c, d, e, f, nothing, nothing], axis=1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        ranges = ("rotation_degrees", "shift", "shear_degrees", "zoom", "interpolation", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in ranges}}
