"""`training.fitting.class_weights`: a rare class counts as much as a frequent one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.tiny_backbone import on_tiny, optimizer
from training.datasets.dataset import Dataset, Split
from training.fitting.class_weights import class_weights
from training.fitting.fit import fit
from training.fitting.options import FitOptions
from training.recipes import FOR_ANY_IMAGES, RECIPES
from training.recipes.recipe import RecipeError

FEATURES = FOR_ANY_IMAGES["features"]


def dataset(*counts: int, name: str = "pets", side: int = 1) -> Dataset:
    labels = np.repeat(np.arange(len(counts)), counts)
    noise = np.random.default_rng(0).integers(0, 256, (len(labels), side, side, 3)).astype(np.uint8)
    return Dataset(name, tuple("abcdef"[: len(counts)]), {n: Split(noise, labels) for n in ("train", "validation")})


def brighter_by(steps: int, data: Dataset) -> Dataset:
    """The images of every class but the first a little brighter, each image by another amount."""
    splits = {}
    for name, split in data.splits.items():
        light = np.random.default_rng(1).normal(100, 6, len(split)) + steps * split.labels
        splits[name] = Split((split.pixels * 0.2 + light[:, None, None, None]).astype(np.uint8), split.labels)
    return replace(data, splits=splits)


def test_classes_of_similar_numbers_count_alike() -> None:
    assert class_weights(FEATURES, dataset(30, 10), "auto") is None


def test_beyond_three_to_one_each_class_weighs_the_same_in_all() -> None:
    counts = (400, 40, 4)
    weights = class_weights(FEATURES, dataset(*counts), "auto")
    assert weights is not None
    np.testing.assert_allclose(np.multiply(weights, counts), sum(counts) / 3, rtol=1e-5)


def test_weights_can_be_asked_for_and_declined() -> None:
    assert class_weights(FEATURES, dataset(400, 40), "off") is None
    assert class_weights(FEATURES, dataset(20, 10), "on") == (0.75, 1.5)


def test_an_articles_own_data_are_weighed_only_where_it_is_asked_for() -> None:
    recipe = RECIPES["asl-augmented"]
    assert class_weights(recipe, dataset(40, 4, name="sign-mnist"), "auto") is None
    assert class_weights(recipe, dataset(40, 4, name="sign-mnist"), "on") is not None
    assert class_weights(recipe, dataset(40, 4, name="my-signs"), "auto") is not None


def test_a_folder_called_folders_is_no_articles_data() -> None:
    assert class_weights(FEATURES, dataset(40, 4, name="folders"), "auto") is not None


@pytest.mark.slow
def test_a_weighted_fit_does_not_call_everything_by_the_frequent_name(tmp_path: Path) -> None:
    recipe = replace(on_tiny(), epochs=12, optimizer=optimizer)
    data = brighter_by(
        6, dataset(200, 20, side=24)
    )  # two heaps that overlap: neither class can be named with certainty
    recall = {}
    for asked in ("on", "off"):
        fitted = fit(recipe, data, FitOptions("pets", tmp_path / asked, precision="float32", class_weights=asked))
        called = np.asarray(fitted.network(data.splits["train"].pixels)).argmax(axis=1)
        recall[asked] = float(called[data.splits["train"].labels == 1].mean())
        assert (fitted.class_weights is not None) == (asked == "on")
    assert recall["off"] < 0.3
    assert recall["on"] > 0.6


@pytest.mark.slow
def test_a_fit_resumes_only_with_the_weights_it_began_with(tmp_path: Path) -> None:
    data, options = dataset(40, 8, side=24), FitOptions("pets", tmp_path / "run", precision="float32", epochs=1)
    fit(on_tiny(), data, options)
    with pytest.raises(RecipeError, match="class_weights"):
        fit(on_tiny(), data, replace(options, epochs=2, resume=True, class_weights="off"))
