"""How training images are varied: settings as data, and the layers that they mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

from training.layers.layer import Interpolation, Layer

Setting = float | bool | str
GREY = 128  # of 0..255


@dataclass(frozen=True)
class Augmentation:
    """What is drawn anew for each image while fitting; without any setting, images stay as they are.

    `rotation_degrees` and `shear_degrees` are to either side, `shift` is of each axis as a part of its side. Factors of
    `zoom` are 1 - zoom to 1 + zoom, of `contrast` likewise. With `horizontal_flip`, half of the images are mirrored.
    `cutout` is the side of a grey square that hides a part of each image, as a part of the image's side (DeVries and
    Taylor, 2017, arXiv:1708.04552); here it never lies over the edge.

    `by` "affine" draws one affine map and interpolates once, as the articles' `ImageDataGenerator` with
    `fill_mode="nearest"` did: it took the nearest pixel until December 2017 and interpolates bilinearly since
    (keras-team/keras, pull request 8849). Its `shear_degrees` are degrees too, so the articles' 0.2 is a fifth of one.
    `by` "layers" flips, rotates, shifts and zooms one after the other with Keras' layers; it has no shear.
    `by` "alternating" is as "affine", but each image is mirrored in every other epoch instead of at random. No layer
    can know which image it sees, so the batches are mirrored.
    """

    rotation_degrees: float = 0.0
    shift: float = 0.0
    shear_degrees: float = 0.0
    zoom: float = 0.0
    contrast: float = 0.0
    cutout: float = 0.0
    horizontal_flip: bool = False
    interpolation: Interpolation = "bilinear"
    by: Literal["affine", "layers", "alternating"] = "affine"

    @property
    def settings(self) -> dict[str, Setting]:
        """What a card records: the settings that act, by name; none where images stay as they are."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        acting = {name: value for name, value in found.items() if value and name not in ("interpolation", "by")}
        return acting | {"interpolation": self.interpolation, "by": self.by} if acting else {}

    @property
    def words(self) -> str:
        """For a person, as `rotated by up to 15 degrees, shifted by up to 10%, flipped`."""
        angles = {"rotated": self.rotation_degrees, "sheared": self.shear_degrees}
        parts = {"shifted": self.shift, "zoomed": self.zoom, "of other contrast": self.contrast}
        said = [f"{word} by up to {angle:g} degrees" for word, angle in angles.items() if angle]
        said += [f"{word} by up to {part:.0%}" for word, part in parts.items() if part]
        said += [f"with a grey square over {self.cutout:.0%} of the side"] if self.cutout else []
        said += ["flipped" + " in every other epoch" * self.alternates] if self.horizontal_flip else []
        return ", ".join(said) or "none"

    @property
    def alternates(self) -> bool:
        """Whether each image is mirrored in every other epoch."""
        return self.horizontal_flip and self.by == "alternating"

    def __bool__(self) -> bool:
        return bool(self.settings)

    def layers(self) -> Sequence[Layer]:
        """The layers in front of a network. Each acts while fitting only."""
        return [*(self._one_by_one() if self.by == "layers" else self._one_map()), *self._contrast(), *self._cutout()]

    def _one_map(self) -> list[Layer]:
        from keras import layers

        from training.layers.random_affine import RandomAffine

        chosen: list[Layer] = []
        if self.rotation_degrees or self.shift or self.shear_degrees or self.zoom:
            affine = RandomAffine(
                rotation_degrees=self.rotation_degrees,
                shift=self.shift,
                shear_degrees=self.shear_degrees,
                zoom=self.zoom,
                interpolation=self.interpolation,
                dtype="float32",
            )
            chosen.append(affine)
        if self.horizontal_flip and not self.alternates:
            chosen.append(layers.RandomFlip("horizontal", dtype="float32"))
        return chosen

    def _one_by_one(self) -> list[Layer]:
        from keras import layers

        chosen: list[Layer] = []
        if self.horizontal_flip:
            chosen.append(layers.RandomFlip("horizontal", dtype="float32"))
        if self.rotation_degrees:
            chosen.append(layers.RandomRotation(self.rotation_degrees / 360, dtype="float32"))
        if self.shift:
            chosen.append(layers.RandomTranslation(self.shift, self.shift, dtype="float32"))
        if self.zoom:
            chosen.append(layers.RandomZoom(self.zoom, dtype="float32"))
        return chosen

    def _contrast(self) -> list[Layer]:
        from keras import layers

        return [layers.RandomContrast(self.contrast, value_range=(0, 255), dtype="float32")] if self.contrast else []

    def _cutout(self) -> list[Layer]:
        from keras import layers

        area, always = self.cutout**2, (1.0, 1.0)
        return [layers.RandomErasing(always, (area, area), fill_value=GREY, dtype="float32")] if self.cutout else []
