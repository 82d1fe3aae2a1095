"""The last layer of a network, in float32 whatever precision the rest is trained in."""

from __future__ import annotations

from training.layers.layer import Layer


def softmax(classes: int) -> Layer:
    """One probability per class."""
    from keras import layers

    return layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")


def sigmoid_for_two(classes: int) -> Layer:
    """One unit for two classes, as the cats-vs-dogs articles have it; softmax for a user's three and more."""
    from keras import layers

    if classes != 2:
        return softmax(classes)
    return layers.Dense(1, activation="sigmoid", dtype="float32", name="probability")
