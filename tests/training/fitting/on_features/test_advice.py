"""`training.fitting.on_features.advice`: of which class more photos would help most."""

from __future__ import annotations

import numpy as np
import pytest

from training.backbones.features import Features
from training.fitting.on_features.advice import most_wanted

WIDTH = 40


def features(*counts: int, noise: float = 1.0) -> Features:
    """So many images of each class around a centre of its own."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(counts)), counts)
    centres = rng.normal(0, 1, (len(counts), WIDTH))
    return Features((centres[labels] + rng.normal(0, noise, (len(labels), WIDTH))).astype(np.float32), labels)


@pytest.mark.parametrize("rare", [0, 1, 2])
def test_more_photos_of_the_class_with_few_help_most(rare: int):
    assert most_wanted(features(*(6 if column == rare else 40 for column in range(3)))) == rare


def test_of_classes_that_are_alike_none_stands_out():
    assert most_wanted(features(40, 40, noise=0.1)) is None
