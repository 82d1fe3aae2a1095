"""Any images on a network trained on ImageNet: its features with a small head, and its top fine-tuned.

Run:     python -m training fit features --data my_photos/
         python -m training fit finetuned --data my_photos/
Takes:   cats-vs-dogs-features  0.8 minutes on AMD EPYC, 2 cores
         cats-vs-dogs-finetuned 25.0 minutes on AMD EPYC, 2 cores
Reaches: cats-vs-dogs-features  test accuracy 0.9885 (0.9880 to 0.9890), n=3
         cats-vs-dogs-finetuned test accuracy 0.9878 (0.9875 to 0.9885), n=3
Article: none; the figures are those of the two recipes above, of which these differ by head and images

Differences between the two: `features` leaves the pretrained network as it is. Every image goes through it once, and
only the head is trained. `finetuned` goes on from there: it trains the top of the network at a low learning rate, on
augmented images.

Differences from the recipes above: their head is trained in 40 epochs of Adam, with dropout. Few images make few
batches, which end before the head has learned. So here it is fitted to convergence, at falling strengths of L2. What
that changes: docs/tuning.md#head-on-few-images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from classifier.card import Article, InputSpec
from training.backbones import BACKBONES
from training.datasets.dataset import Reader
from training.datasets.folders import Folders
from training.layers.augmentation import Augmentation
from training.layers.heads import sigmoid_for_two
from training.layers.layer import Layer
from training.recipes.recipe import FineTuning, L2Path, Optimizer, Recipe, Statistics

BACKBONE = BACKBONES["efficientnet-lite0"]
BACKBONE_PARAMETERS, WIDTH = 3_413_024, 1280


def head(classes: int, _: Statistics) -> Sequence[Layer]:
    """A logistic regression on the features, with dropout."""
    from keras import layers

    return [layers.Dropout(0.5), sigmoid_for_two(classes)]


def plain_head(classes: int, _: Statistics) -> Sequence[Layer]:
    """A logistic regression on the features."""
    return [sigmoid_for_two(classes)]


AUGMENTATION = Augmentation(rotation_degrees=15, shift=0.1, zoom=0.1, horizontal_flip=True)


def head_optimizer() -> Optimizer:
    from keras import optimizers

    return optimizers.Adam(1e-3)


def fine_tuning_optimizer() -> Optimizer:
    from keras import optimizers

    return optimizers.Adam(1e-5)  # docs/tuning.md#learning-rate-of-fine-tuning


def features(name: str, model: str, article: Article, reader: Reader, classes: int, side: int = 224) -> Recipe:
    """The recipe of a head on features. `classes` is the number it states its parameters for."""
    return Recipe(
        name=name,
        model=model,
        article=article,
        reader=reader,
        input=InputSpec(height=side, width=side, channels=3),
        network=head,
        optimizer=head_optimizer,
        epochs=40,
        batch_size=32,
        parameters=BACKBONE_PARAMETERS + (WIDTH + 1) * (1 if classes == 2 else classes),
        reduced_precision=False,
        backbone=BACKBONE,
    )


def finetuned(name: str, model: str, article: Article, reader: Reader, classes: int, side: int = 224) -> Recipe:
    """The recipe of `features`, and then the top of the network."""
    return replace(
        features(name, model, article, reader, classes, side),
        epochs=48,
        augmentation=AUGMENTATION,
        fine_tuning=FineTuning(after=40, parts=4, optimizer=fine_tuning_optimizer, batch_size=32),
    )


_NO_FIGURE = Article(title="Transfer from ImageNet to your own images")

L2 = L2Path(strongest=30.0, ratio=10**-0.5)  # docs/tuning.md#head-on-few-images
STRENGTHS = 14  # of L2: down to 1e-5
PATIENCE = 5  # epochs, of which each is a strength in the head


def _for_any_images(recipe: Recipe) -> Recipe:
    """The recipe with a head that few images are enough for."""
    tuning = recipe.fine_tuning and replace(recipe.fine_tuning, after=STRENGTHS)
    tuned = recipe.epochs - recipe.head_epochs(recipe.epochs)
    return replace(recipe, network=plain_head, l2=L2, epochs=STRENGTHS + tuned, fine_tuning=tuning, patience=PATIENCE)


FEATURES = _for_any_images(features("features", "features", _NO_FIGURE, Folders(), classes=2))
FINETUNED = _for_any_images(finetuned("finetuned", "finetuned", _NO_FIGURE, Folders(), classes=2))
