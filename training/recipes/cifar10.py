"""CIFAR-10: 32x32 RGB, ten classes, a VGG-like network with and without augmentation.

Run:     python -m training fit cifar-10-augmented --data cifar-10.zip
Takes:   cifar-10-baseline  60.3 minutes on AMD EPYC, 2 cores
         cifar-10-augmented 115.0 minutes on AMD EPYC, 2 cores
Reaches: cifar-10-baseline  test accuracy 0.6672, n=1
         cifar-10-augmented test accuracy 0.7928 (0.7878 to 0.8020), n=3
Article: validation accuracy 0.801 at epoch 30 and 0.814 at best

Differences from the article: the 30 % validation images are drawn by NumPy's generator with the article's seed 777.
They need not be the images the article drew. Pixels are standardised with the mean and deviation of all 50,000 training
images as there, inside the network. Augmented images are made of the nearest pixels, as Keras made them until December
2017; whether the article's Keras was older is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from classifier.card import Article, InputSpec
from training.datasets.cifar10 import Cifar10
from training.layers.augmentation import Augmentation
from training.layers.heads import softmax
from training.layers.layer import Layer
from training.recipes.recipe import NO_AUGMENTATION, Optimizer, Recipe, Statistics


def standardisation(statistics: Statistics) -> Layer:
    """Pixels less their mean and divided by their deviation, for each channel.

    Not layers.Normalization: its constants become extra inputs of the exported ONNX graph (Keras 3.15, tf2onnx 1.17).
    """
    from keras import layers

    scale = [1 / deviation for deviation in statistics.deviation]
    offset = [-mean / deviation for mean, deviation in zip(statistics.mean, statistics.deviation, strict=True)]
    return layers.Rescaling(scale, offset, dtype="float32")


def network(classes: int, statistics: Statistics) -> Sequence[Layer]:
    from keras import layers

    def rectified(layer: Layer) -> list[Layer]:
        return [layer, layers.BatchNormalization(), layers.Activation("relu")]

    stack = [standardisation(statistics)]
    for filters in (32, 64, 128):
        for _ in range(2):
            stack += rectified(layers.Conv2D(filters, 3, padding="same"))
        stack.append(layers.MaxPooling2D(2))
    return [*stack, layers.Flatten(), *rectified(layers.Dense(256)), softmax(classes)]


AUGMENTATION = Augmentation(rotation_degrees=30, shift=0.1, zoom=0.2, horizontal_flip=True, interpolation="nearest")


def optimizer() -> Optimizer:
    from keras import optimizers

    return optimizers.Adam(1e-4)


AUGMENTED = Recipe(
    name="cifar-10-augmented",
    model="cifar-10",
    article=Article(title="CNN / CIFAR-10 / data augmentation", split="validation", accuracy=0.801),
    reader=Cifar10(validation_fraction=0.3, split_seed=777),
    input=InputSpec(height=32, width=32, channels=3),
    network=network,
    augmentation=AUGMENTATION,
    optimizer=optimizer,
    epochs=30,
    batch_size=32,
    parameters=816_938,
    reduced_precision=False,  # as the letters, docs/tuning.md#precision-of-the-letters; not tried here
    baseline="cifar-10-baseline",
)
BASELINE = replace(
    AUGMENTED,
    name="cifar-10-baseline",
    article=AUGMENTED.article.model_copy(update={"split": None, "accuracy": None}),
    augmentation=NO_AUGMENTATION,
    baseline=None,
)
