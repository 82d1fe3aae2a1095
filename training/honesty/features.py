"""What a network sees of an image, at several of its layers: the numbers that tell familiar images from others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.float32]

LAST = "last"  # what the layer of the logits reads
LOGITS = "logits"
MEAN, DEVIATION = "mean", "deviation"  # of a layer's channels over the picture

WIDEST = 4_096  # of what the last layer reads
SHRUNK = 1.4  # a picture with a side so many times as large has another size

# What takes as long as so many multiply-adds of one image. docs/tuning.md#cost-of-familiarity
NUMBER = 40  # a number of a picture that is read
STEP = 8_000  # a step, however small, in a batch of 16
STEPS_OF_DISTANCE, STEPS_OF_MEAN, STEPS_OF_DEVIATION = 10, 6, 9

PREFIX = "familiarity_"  # of every layer that is added: reduced precision leaves these alone


def last_layer(network: Any) -> Any:
    """The Dense layer that gives the logits."""
    return next(layer for layer in reversed(network.layers) if _gives_logits(layer))


def _gives_logits(layer: Any) -> bool:
    return isinstance(layer, keras.layers.Dense) and not layer.name.startswith(PREFIX)


def stages(network: Any) -> tuple[str, ...]:
    """The layers after which the picture shrinks, and the last one: what has been seen at each size, largest first."""
    found: list[tuple[int, str]] = []
    for layer in network.layers:
        shape: tuple[Any, ...] = () if isinstance(layer, keras.layers.InputLayer) else layer.output.shape
        if len(shape) != 4 or layer.name.startswith(PREFIX):
            continue
        if found and shape[1] * SHRUNK > found[-1][0]:  # a rim that a convolution cuts off makes no other size
            found[-1] = (found[-1][0], layer.name)
        else:
            found.append((shape[1], layer.name))
    return tuple(name for _, name in found)


def feature_sets(network: Any) -> dict[str, tuple[str, ...]]:
    """Choices of features by name. A feature is `last`, or `LAYER/mean` or `LAYER/deviation`.

    What the last layer reads is left out where it is a whole picture. Where it is the last stage's mean, no set has
    that twice.
    """
    found = stages(network)
    last = (LAST,) if last_layer(network).input.shape[-1] <= WIDEST else ()
    pooled = _pooled(network) if last else None
    sets: dict[str, tuple[str, ...]] = {"the last layer": last}
    for count in sorted({depth for depth in (1, 2, len(found)) if depth <= len(found)}):
        means = tuple(LAST if name == pooled else f"{name}/{MEAN}" for name in found[-count:])
        deviations = tuple(f"{name}/{DEVIATION}" for name in found[-count:])
        of = f"the last {count} stages"
        sets |= {
            f"means of {of}": means,
            f"means of {of} and the last layer": means + last,
            f"means and deviations of {of}": means + deviations,
            f"all of {of} and the last layer": means + deviations + last,
        }
    return _without_repetition(sets)


def _pooled(network: Any) -> str | None:
    """The layer whose picture's mean the last layer reads, or None."""
    before = _before(network, last_layer(network))
    while isinstance(before, keras.layers.Dropout):
        before = _before(network, before)
    return _before(network, before).name if isinstance(before, keras.layers.GlobalAveragePooling2D) else None


def _before(network: Any, layer: Any) -> Any:
    return next(each for each in network.layers if each.output is layer.input)


def _without_repetition(sets: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Each feature once in its set, and each set once."""
    first_names: dict[tuple[str, ...], str] = {}
    for name, features in sets.items():
        if features:
            first_names.setdefault(tuple(dict.fromkeys(features)), name)
    return {name: features for features, name in first_names.items()}


def cost(network: Any, features: Iterable[str], rank: int, classes: int) -> int:
    """What a distance adds to each image, in multiply-adds or what takes as long: its matrices, numbers and steps."""
    width, numbers, steps = 0, 0, STEPS_OF_DISTANCE
    for feature in features:
        layer, _, statistic = feature.rpartition("/")
        picture = last_layer(network).input if feature == LAST else network.get_layer(layer).output
        width += picture.shape[-1]
        if feature != LAST:
            readings, more = (1, STEPS_OF_MEAN) if statistic == MEAN else (4, STEPS_OF_DEVIATION)
            numbers += readings * math.prod(picture.shape[1:])
            steps += more
    return width * (rank + 1) + (rank + 1) * classes + NUMBER * numbers + STEP * steps


def multiply_adds(network: Any) -> int:
    """How many multiplications a network's convolutions and matrices take for one image."""
    return sum(
        math.prod(weights.shape) * math.prod(layer.output.shape[1:-1])
        for layer in network.layers
        if not layer.name.startswith(PREFIX)
        for weights in layer.weights
        if len(weights.shape) > 1
    )


def block(network: Any, feature: str) -> Any:
    """One feature as a Keras tensor, float32 [n, width], of length 1."""
    layer, _, statistic = feature.rpartition("/")
    if feature == LAST:
        value = last_layer(network).input
    else:
        picture = network.get_layer(layer).output
        value = _mean(picture, feature) if statistic == MEAN else keras.ops.std(picture, axis=(1, 2))
    return keras.layers.UnitNormalization(axis=-1, name=f"{PREFIX}unit_{feature.replace('/', '_')}")(value)


def _mean(picture: Any, feature: str) -> Any:
    """The channels' means over a picture: by pooling, which OpenVINO does faster than it reduces."""
    pool = keras.layers.AveragePooling2D(picture.shape[1:3], name=f"{PREFIX}{feature.replace('/', '_')}")
    return keras.ops.squeeze(pool(picture), axis=(1, 2))


def joined(network: Any, features: Iterable[str]) -> Any:
    """Several features side by side."""
    blocks = [block(network, feature) for feature in features]
    return blocks[0] if len(blocks) == 1 else keras.layers.Concatenate(name=f"{PREFIX}features")(blocks)


def logits(network: Any) -> Any:
    """What the last layer's softmax reads, float32 [n, classes]; a sigmoid's two columns are 0 and its logit."""
    layer = last_layer(network)
    value = keras.ops.add(keras.ops.matmul(layer.input, layer.kernel), layer.bias)
    return value if value.shape[-1] > 1 else keras.ops.concatenate([keras.ops.zeros_like(value), value], axis=-1)


def reader(network: Any, features: Iterable[str]) -> Callable[[Any], dict[str, Features]]:
    """A function from pixels, uint8 [n, height, width, channels], to each feature and LOGITS, float32 [n, width]."""
    import tensorflow as tf

    seen = keras.Model(network.inputs[0], {LOGITS: logits(network)} | {each: block(network, each) for each in features})
    run = tf.function(
        lambda pixels: seen(pixels, training=False),
        input_signature=[tf.TensorSpec(network.input_shape, tf.uint8)],
        jit_compile=False,
    )

    def read(pixels_u8: Any) -> dict[str, Features]:
        return {feature: value.numpy() for feature, value in run(tf.constant(pixels_u8)).items()}

    return read
