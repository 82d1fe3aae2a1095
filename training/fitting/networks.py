"""From a recipe to Keras networks: those that are trained and the one that is shipped."""

from __future__ import annotations

from typing import Any

import keras
import numpy.typing as npt

from classifier.card import Precision
from classifier.engines import Probabilities
from training.backbones import FEATURES, Backbone
from training.recipes.recipe import FineTuning, Optimizer, Recipe, Statistics

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def training_network(
    recipe: Recipe, classes: int, statistics: Statistics, precision: Precision, *, side: int | None = None
) -> Any:
    """The compiled network: uint8 pixels, augmentation, the article's layers, its loss and optimiser.

    Augmentation acts only while fitting. The first layer that scales and the last that gives probabilities compute in
    float32 whatever the precision. A backbone has its pretrained weights, and of its layers only those are trained
    that the recipe's fine-tuning names. With a `side` it sees the images reduced to so many pixels; its weights are
    those of the network at full size.
    """
    keras.config.set_dtype_policy(_POLICIES[precision])
    try:
        pixels = keras.Input(recipe.input.shape, dtype="uint8", name="pixels")
        seen = _apply([*_reduction(side), *recipe.augmentation.layers()], pixels)
        answer = _built(recipe, classes, statistics, seen, pretrained=True)
        network = keras.Model(pixels, answer)
    finally:
        keras.config.set_dtype_policy("float32")
    if recipe.backbone is not None:
        _freeze(network, recipe.backbone, recipe.fine_tuning)
    _compile(
        network, recipe.fine_tuning.optimizer() if recipe.fine_tuning else recipe.optimizer(), recipe.label_smoothing
    )
    return network


def head_network(recipe: Recipe, classes: int, statistics: Statistics, width: int) -> Any:
    """The head alone, on features float32 [n, width]; compiled where it is trained in epochs."""
    features = keras.Input((width,), dtype="float32", name=FEATURES)
    network = keras.Model(features, _apply(recipe.network(classes, statistics), features))
    if recipe.l2 is None:
        _compile(network, recipe.optimizer(), recipe.label_smoothing)
    return network


def copy_head(head: Any, network: Any) -> None:
    """Give a network on a backbone the weights of its head trained alone."""
    behind = network.layers[[layer.name for layer in network.layers].index(FEATURES) + 1 :]
    for source, target in zip(
        (layer for layer in head.layers if layer.weights), (layer for layer in behind if layer.weights), strict=True
    ):
        target.set_weights(source.get_weights())


def inference_network(recipe: Recipe, classes: int, statistics: Statistics, trained: Any) -> Any:
    """The network that is served, in float32 with the trained weights: uint8 pixels to one column per class.

    No augmentation and no optimiser. A sigmoid network gets the columns 1 - p and p.
    """
    pixels = keras.Input(recipe.input.shape, dtype="uint8", name="pixels")
    answer = _built(recipe, classes, statistics, pixels, pretrained=False)
    body = keras.Model(pixels, answer)
    body.set_weights(trained.get_weights())
    return keras.Model(pixels, _columns(answer), name=recipe.name.replace("-", "_"))


def inference_network_on(frozen: Any, recipe: Recipe, classes: int, statistics: Statistics, head: Any) -> Any:
    """The network that is served, of a backbone that stayed as it was and a head that was trained on its features."""
    answer = _apply(recipe.network(classes, statistics), frozen.output)
    network = keras.Model(frozen.input, _columns(answer), name=recipe.name.replace("-", "_"))
    copy_head(head, network)
    return network


def inference_head(trained: Any) -> Any:
    """A trained head, with one column per class: features float32 [n, width] to probabilities [n, classes]."""
    return keras.Model(trained.inputs, _columns(trained.output))


def keras_function(network: Any) -> Any:
    """The Keras network as a plain function on NumPy arrays, compiled once."""
    import tensorflow as tf

    compiled = tf.function(
        lambda inputs: network(inputs, training=False),
        input_signature=[tf.TensorSpec(network.input_shape, network.inputs[0].dtype)],
        jit_compile=False,
    )

    def run(inputs: npt.NDArray[Any]) -> Probabilities:
        answer: Probabilities = compiled(tf.constant(inputs)).numpy()
        return answer

    return run


def _built(recipe: Recipe, classes: int, statistics: Statistics, value: Any, *, pretrained: bool) -> Any:
    if recipe.backbone is not None:
        value = recipe.backbone.build(value, pretrained)
    return _apply(recipe.network(classes, statistics), value)


def _reduction(side: int | None) -> list[Any]:
    return [] if side is None else [keras.layers.Resizing(side, side, antialias=True, dtype="float32", name="reduced")]


def _columns(answer: Any) -> Any:
    if answer.shape[-1] > 1:
        return answer
    first = keras.layers.Rescaling(-1.0, offset=1.0, name="complement")(answer)
    return keras.layers.Concatenate(name="probabilities")([first, answer])


def _freeze(network: Any, backbone: Backbone, tuning: FineTuning | None) -> None:
    """Leave the backbone as it is, but for its top where it is fine-tuned; there only what is to learn."""
    names = [layer.name for layer in network.layers]
    end = names.index(FEATURES)
    tuned = names.index(backbone.tops[-tuning.parts]) if tuning else end
    for position, layer in enumerate(network.layers[:end]):
        stays = isinstance(layer, keras.layers.BatchNormalization) and not (tuning and tuning.normalisation)
        layer.trainable = position >= tuned and not stays


def _compile(network: Any, optimizer: Optimizer, label_smoothing: float) -> None:
    binary = network.output_shape[-1] == 1
    network.compile(
        optimizer=optimizer,
        loss=keras.losses.BinaryCrossentropy(label_smoothing=label_smoothing) if binary else _loss(label_smoothing),
        metrics=["accuracy"],
        jit_compile=keras.backend.backend() == "jax",  # docs/tuning.md#xla-while-fitting
    )


def _loss(label_smoothing: float) -> Any:
    """The cross-entropy of column indices; Keras smooths only labels that have one column per class."""
    if not label_smoothing:
        return keras.losses.SparseCategoricalCrossentropy()

    def smoothed_crossentropy(labels: Any, probabilities: Any) -> Any:
        indices = keras.ops.cast(keras.ops.reshape(labels, (-1,)), "int32")
        one_hot = keras.ops.one_hot(indices, probabilities.shape[-1])
        return keras.losses.categorical_crossentropy(one_hot, probabilities, label_smoothing=label_smoothing)

    return smoothed_crossentropy


def _apply(layers: Any, value: Any) -> Any:
    for layer in layers:
        value = layer(value)
    return value
