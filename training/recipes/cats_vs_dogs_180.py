"""Cats vs dogs at 180x180: the small convnet of Deep Learning with Python, 2nd edition, chapter 8.

Run:     python -m training fit cats-vs-dogs-180-augmented --data cats-vs-dogs.zip
Takes:   cats-vs-dogs-180-baseline  30.3 minutes on AMD EPYC, 2 cores
         cats-vs-dogs-180-augmented 96.4 minutes on AMD EPYC, 2 cores
Reaches: cats-vs-dogs-180-baseline  test accuracy 0.6855, n=1
         cats-vs-dogs-180-augmented test accuracy 0.8322 (0.8260 to 0.8445), n=3
Article: test accuracy 0.690 without and 0.829 with augmentation

Differences from the book: none in the network or the schedule. Keras' RandomZoom(0.2) draws one factor for both axes,
as it did for the book. Augmentation and the last layer compute in float32 when the rest is trained in bfloat16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from classifier.card import Article, InputSpec
from training.datasets.cats_vs_dogs import CatsVsDogs
from training.layers.augmentation import Augmentation
from training.layers.heads import sigmoid_for_two
from training.layers.layer import Layer
from training.recipes.recipe import NO_AUGMENTATION, Optimizer, Recipe, Statistics

BOOK = Article(
    title="Deep Learning with Python, 2nd edition, chapter 8: Introduction to deep learning for computer vision",
    author="François Chollet",
    split="test",
)


def network(classes: int, _: Statistics, *, dropout: float) -> Sequence[Layer]:
    from keras import layers

    stack = [layers.Rescaling(1 / 255, dtype="float32")]
    for filters in (32, 64, 128, 256):
        stack += [layers.Conv2D(filters, 3, activation="relu"), layers.MaxPooling2D(2)]
    stack += [layers.Conv2D(256, 3, activation="relu"), layers.Flatten()]
    if dropout:
        stack.append(layers.Dropout(dropout))
    return [*stack, sigmoid_for_two(classes)]


AUGMENTATION = Augmentation(rotation_degrees=36, zoom=0.2, horizontal_flip=True, by="layers")


def optimizer() -> Optimizer:
    from keras import optimizers

    return optimizers.RMSprop()


BASELINE = Recipe(
    name="cats-vs-dogs-180-baseline",
    model="cats-vs-dogs",
    article=BOOK.model_copy(update={"accuracy": 0.690}),
    reader=CatsVsDogs(train=range(1000), validation=range(1000, 1500), test=range(1500, 2500)),
    input=InputSpec(height=180, width=180, channels=3),
    network=lambda classes, statistics: network(classes, statistics, dropout=0.0),
    augmentation=NO_AUGMENTATION,
    optimizer=optimizer,
    epochs=30,
    batch_size=32,
    parameters=991_041,  # printed by the book
)
AUGMENTED = replace(
    BASELINE,
    name="cats-vs-dogs-180-augmented",
    article=BOOK.model_copy(update={"accuracy": 0.829}),
    network=lambda classes, statistics: network(classes, statistics, dropout=0.5),
    augmentation=AUGMENTATION,
    epochs=100,
    baseline=BASELINE.name,
)
