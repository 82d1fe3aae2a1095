"""How much each class counts in the loss, lest a network do well by naming the most frequent one."""

from __future__ import annotations

from typing import Literal

import numpy as np

from training.datasets.dataset import Dataset
from training.recipes.recipe import Recipe

AskedWeights = Literal["auto", "on", "off"]

IMBALANCE = 3.0  # images of the largest class to those of the smallest; beyond it "auto" weighs

Weights = tuple[float, ...]


def class_weights(recipe: Recipe, dataset: Dataset, asked: AskedWeights) -> Weights | None:
    """The weight of each column, whose mean over the training images is 1; None where all images count alike.

    "auto" weighs where the training images of two classes differ by more than `IMBALANCE`. The articles did not, so
    their own data sets are weighed only where it is asked for.
    """
    counts = np.bincount(dataset.splits["train"].labels, minlength=len(dataset.labels))
    uneven = counts.max() > IMBALANCE * counts.min()
    if asked == "off" or (asked == "auto" and (not uneven or recipe.is_of_the_article(dataset))):
        return None
    return tuple(round(float(weight), 6) for weight in counts.sum() / (len(counts) * counts))
