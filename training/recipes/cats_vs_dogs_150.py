"""Cats vs dogs at 150x150: the convnet of Deep Learning with Python, 1st edition, chapter 5.

Run:     python -m training fit cats-vs-dogs-150-augmented --data cats-vs-dogs.zip
Takes:   cats-vs-dogs-150-baseline  8.2 minutes on AMD EPYC, 2 cores
         cats-vs-dogs-150-augmented 146.3 minutes on AMD EPYC, 2 cores
Reaches: cats-vs-dogs-150-baseline  test accuracy 0.6610, n=1
         cats-vs-dogs-150-augmented test accuracy 0.8010, n=1
Article: validation accuracy 0.71 without and 0.82 with augmentation

Differences from the book: it evaluated 50 validation batches of a looping generator, here every validation image
counts once; it saved the last epoch, here the epoch with the lowest validation loss is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from classifier.card import Article, InputSpec
from training.datasets.cats_vs_dogs import CatsVsDogs
from training.layers.augmentation import Augmentation
from training.layers.heads import sigmoid_for_two
from training.layers.layer import Layer
from training.recipes.recipe import Optimizer, Recipe, Statistics

BOOK = Article(
    title="Deep Learning with Python, 1st edition, chapter 5: Deep learning for computer vision",
    author="François Chollet",
    split="validation",
)


def network(classes: int, _: Statistics, *, dropout: float) -> Sequence[Layer]:
    from keras import layers

    stack = [layers.Rescaling(1 / 255, dtype="float32")]
    for filters in (32, 64, 128, 128):
        stack += [layers.Conv2D(filters, 3, activation="relu"), layers.MaxPooling2D(2)]
    stack.append(layers.Flatten())
    if dropout:
        stack.append(layers.Dropout(dropout))
    return [*stack, layers.Dense(512, activation="relu"), sigmoid_for_two(classes)]


AUGMENTATION = Augmentation(
    rotation_degrees=40, shift=0.2, shear_degrees=0.2, zoom=0.2, horizontal_flip=True, interpolation="nearest"
)


def optimizer(learning_rate: float) -> Optimizer:
    from keras import optimizers

    return optimizers.RMSprop(learning_rate)


BASELINE = Recipe(
    name="cats-vs-dogs-150-baseline",
    model="cats-vs-dogs",
    article=BOOK.model_copy(update={"accuracy": 0.71}),
    reader=CatsVsDogs(train=range(1000), validation=range(1000, 1500), test=range(1500, 2000)),
    input=InputSpec(height=150, width=150, channels=3),
    network=lambda classes, statistics: network(classes, statistics, dropout=0.0),
    optimizer=lambda: optimizer(1e-3),
    epochs=30,
    batch_size=20,
    steps_per_epoch=100,
    parameters=3_453_121,  # printed by the book
)
AUGMENTED = replace(
    BASELINE,
    name="cats-vs-dogs-150-augmented",
    article=BOOK.model_copy(update={"accuracy": 0.82}),
    network=lambda classes, statistics: network(classes, statistics, dropout=0.5),
    augmentation=AUGMENTATION,
    optimizer=lambda: optimizer(1e-4),
    epochs=100,
    batch_size=32,
    baseline=BASELINE.name,
)
