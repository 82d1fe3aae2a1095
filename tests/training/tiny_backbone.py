"""A backbone that takes no time: two convolutions whose "pretrained" weights are drawn from a fixed seed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from classifier.card import InputSpec
from training.backbones import FEATURES, Backbone
from training.recipes import FOR_ANY_IMAGES
from training.recipes.recipe import FineTuning, Recipe

WIDTH = 12


def build(pixels: Any, pretrained: bool, *, seed: int = 1) -> Any:
    from keras import initializers, layers

    value = layers.Rescaling(1 / 255, dtype="float32", name="normalisation")(pixels)
    for number, filters in enumerate((8, WIDTH)):
        kernel = initializers.HeNormal(seed=seed + number) if pretrained else "zeros"
        value = layers.Conv2D(filters, 3, strides=2, kernel_initializer=kernel, name=f"part{number}")(value)
        value = layers.BatchNormalization(name=f"part{number}_bn")(value)
        value = layers.ReLU(6.0, name=f"part{number}_relu")(value)
    return layers.GlobalAveragePooling2D(dtype="float32", name=FEATURES)(value)


TINY = Backbone("tiny", build, tops=("part0", "part1"))
OTHER = Backbone("tiny", lambda pixels, pretrained: build(pixels, pretrained, seed=5), TINY.tops)

SPEC = InputSpec(height=24, width=24, channels=3)


def optimizer() -> Any:
    from keras import optimizers

    return optimizers.Adam(1e-2)


def on_tiny(name: str = "features") -> Recipe:
    """`features` or `finetuned` in small: two epochs of the head, and two of fine-tuning."""
    recipe = FOR_ANY_IMAGES[name]
    small = replace(recipe, backbone=TINY, input=SPEC, epochs=2, batch_size=8, fine_tuning=None)
    if recipe.fine_tuning is None:
        return small
    return replace(small, epochs=4, fine_tuning=FineTuning(after=2, parts=1, optimizer=optimizer, batch_size=8))
