"""Whether a mirrored image still belongs to its class, asked of the pretrained features before fine-tuning.

A left arrow that is mirrored points right. A cat that is mirrored is a cat.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from training.backbones.backbone import Backbone
from training.backbones.features import FeatureSet, FrozenBackbone
from training.datasets.dataset import Dataset
from training.datasets.sampling import Indices, spread
from training.fitting.on_features.ridge import Rows, margins_by_others
from training.fitting.options import FitOptions
from training.recipes.recipe import Recipe

MOST_IMAGES = 200  # that are mirrored; docs/tuning.md#flip-that-changes-the-class
SIGMAS = 3.0  # by which the margins must fall
KEPT_PART = 0.5  # of its margin that a class keeps when mirrored, or flipping changes it


class FlipCheck(NamedTuple):
    """How far the true class is ahead of the others, as a mean over images: as they are, and mirrored.

    `sigmas` is by how many standard errors the second is lower.
    """

    images: int
    margin: float
    margin_mirrored: float
    sigmas: float

    @property
    def changes_the_class(self) -> bool:
        return self.margin > 0 and self.margin_mirrored < KEPT_PART * self.margin and self.sigmas > SIGMAS


def without_harmful_flip(recipe: Recipe, dataset: Dataset, seen: FeatureSet, options: FitOptions) -> Recipe:
    """The recipe as it will be fitted: without its flip where that changes the class, unless a person asked for it."""
    if not asks_about_flip(recipe, dataset, options) or recipe.backbone is None:
        return recipe
    if not flip_changes_the_class(recipe.backbone, recipe.input.shape, dataset, seen):
        return recipe
    return recipe.with_augmentation({"horizontal_flip": False})


def asks_about_flip(recipe: Recipe, dataset: Dataset, options: FitOptions) -> bool:
    """Whether images will be flipped, and nobody has said that they may be: neither a person nor the article."""
    epochs = options.epochs or recipe.epochs
    tunes = recipe.backbone is not None and epochs > recipe.head_epochs(epochs)
    asked = options.flip != "auto" or recipe.is_of_the_article(dataset)
    return tunes and recipe.augmentation.horizontal_flip and not asked


def flip_changes_the_class(backbone: Backbone, shape: tuple[int, int, int], dataset: Dataset, seen: FeatureSet) -> bool:
    """Whether any class, or all together, loses most of its margin when mirrored."""
    return any(check.changes_the_class for check in check_flip(backbone, shape, dataset, seen))


def check_flip(backbone: Backbone, shape: tuple[int, int, int], dataset: Dataset, seen: FeatureSet) -> list[FlipCheck]:
    """One check over all classes, and one for each class.

    A linear classifier works on the features of training and validation images. It scores images that it was not fitted
    on, as they are and mirrored.
    """
    features = seen.together
    chosen = spread(features.labels, max(MOST_IMAGES, len(dataset.labels)))
    plain = features.take(chosen)
    frozen = seen.frozen or FrozenBackbone(backbone, shape)
    flipped = frozen.features(_mirrored(dataset, chosen))
    margins, mirrored = margins_by_others(plain, flipped)
    every = np.ones(len(chosen), bool)
    groups = [every, *(plain.labels == column for column in range(len(dataset.labels)))]
    return [compare(margins[group], mirrored[group]) for group in groups]


def compare(margins: Rows, mirrored: Rows) -> FlipCheck:
    """The check of images whose margins, as they are and mirrored, float64 [n] each, are known."""
    falls = margins - mirrored
    error = falls.std(ddof=1) / len(falls) ** 0.5 if len(falls) > 1 else float("inf")
    return FlipCheck(len(falls), float(margins.mean()), float(mirrored.mean()), float(falls.mean() / max(error, 1e-12)))


def _mirrored(dataset: Dataset, chosen: Indices) -> npt.NDArray[np.uint8]:
    """The chosen of the training and validation images, left and right exchanged."""
    train = dataset.splits["train"]
    first = chosen[chosen < len(train)]
    others = chosen[chosen >= len(train)] - len(train)
    pixels = np.concatenate([train.pixels[first], dataset.splits["validation"].pixels[others]])
    return np.ascontiguousarray(pixels[:, :, ::-1])
