"""From a recipe to Keras networks: the one that is trained and the one that is shipped."""

from __future__ import annotations

from typing import Any

import keras

from classifier.card import Precision
from training.recipe import Recipe, Statistics

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def training_network(recipe: Recipe, classes: int, statistics: Statistics, precision: Precision) -> Any:
    """The compiled network: uint8 pixels, augmentation, the article's layers, its loss and optimiser.

    Augmentation acts only while fitting. The first layer that scales and the last that gives probabilities compute in
    float32 whatever the precision.
    """
    keras.config.set_dtype_policy(_POLICIES[precision])
    try:
        pixels = keras.Input(recipe.input.shape, dtype="uint8", name="pixels")
        network = keras.Model(pixels, _apply((*recipe.augmentation(), *recipe.network(classes, statistics)), pixels))
    finally:
        keras.config.set_dtype_policy("float32")
    binary = network.output_shape[-1] == 1
    network.compile(
        optimizer=recipe.optimizer(),
        loss=keras.losses.BinaryCrossentropy() if binary else keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
        jit_compile=False,  # XLA was slower on the CPUs we measured
    )
    return network


def inference_network(recipe: Recipe, classes: int, statistics: Statistics, trained: Any) -> Any:
    """The network that is served, in float32 with the trained weights: uint8 pixels to one column per class.

    No augmentation and no optimiser. A sigmoid network gets the columns 1 - p and p.
    """
    pixels = keras.Input(recipe.input.shape, dtype="uint8", name="pixels")
    answer = _apply(recipe.network(classes, statistics), pixels)
    body = keras.Model(pixels, answer)
    body.set_weights(trained.get_weights())
    if answer.shape[-1] == 1:
        first = keras.layers.Rescaling(-1.0, offset=1.0, name="complement")(answer)
        answer = keras.layers.Concatenate(name="probabilities")([first, answer])
    return keras.Model(pixels, answer, name=recipe.name.replace("-", "_"))


def _apply(layers: Any, value: Any) -> Any:
    for layer in layers:
        value = layer(value)
    return value
