"""`training.fitting.on_features.l2_path`: a head that few images are enough for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.tiny_backbone import SPEC, on_tiny
from training.backbones.features import Features, FeatureSet
from training.datasets.dataset import Dataset, Split
from training.fitting.fit import fit_head
from training.fitting.networks import inference_head, keras_function
from training.fitting.on_features.l2_path import Head, LogisticRegression, principal_axes, shrunk, softmax
from training.fitting.options import FitOptions
from training.fitting.run import Epoch
from training.recipes import pretrained
from training.recipes.recipe import L2Path, Recipe, RecipeError

WIDTH = 40


def features(count: int, classes: int = 3, width: int = WIDTH, seed: int = 3) -> Features:
    """Positive features with a common part, as a network's are, in which the class is a small matter."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    towards = np.random.default_rng(0).normal(0, 0.3, (classes, width))
    inputs = np.abs(3.0 + rng.normal(0, 1, (count, width)) + towards[labels])
    return Features(inputs.astype(np.float32), labels)


def nothing(classes: int, width: int = WIDTH) -> Head:
    return Head(np.zeros((width, classes)), np.zeros(classes))


def objective(head: Head, seen: Features, decay: float, weights: np.ndarray | None = None) -> float:
    found = softmax(seen.inputs.astype(np.float64) @ head.kernel + head.bias)[np.arange(len(seen)), seen.labels]
    losses = -np.log(found) * (1.0 if weights is None else weights[seen.labels])
    return float(losses.mean() + decay / 2 * (np.asarray(head.kernel, np.float64) ** 2).sum())


def decay_of(strength: float, seen: Features) -> float:
    return strength * float(seen.inputs.var(axis=0).sum()) / len(seen)


@pytest.mark.parametrize("count", [24, 300], ids=["fewer images than features", "more"])
@pytest.mark.parametrize("strength", [10.0, 0.1])
def test_no_head_nearby_is_better_than_the_solution(count: int, strength: float):
    seen, decay = features(count), decay_of(strength, features(count))
    found = LogisticRegression(seen, 3).solved(strength, nothing(3))
    best, rng = objective(found, seen, decay), np.random.default_rng(1)
    for size in (1e-1, 1e-2):
        for _ in range(20):
            other = Head(found.kernel + rng.normal(0, size, found.kernel.shape) / WIDTH, found.bias)
            assert objective(other, seen, decay) > best - 1e-5
    assert objective(Head(found.kernel, found.bias + np.array([0.05, 0.0, -0.05])), seen, decay) > best


def test_weaker_l2_fits_the_images_better():
    seen = features(60)
    regression, head, losses = LogisticRegression(seen, 3), nothing(3), []
    for strength in (10.0, 1.0, 0.1, 0.01):
        head = regression.solved(strength, head)
        losses.append(objective(head, seen, decay=0.0))
    assert losses == sorted(losses, reverse=True)


def test_the_scale_of_the_features_changes_nothing():
    seen = features(60)
    larger = Features(seen.inputs * 1000, seen.labels)
    small, large = (LogisticRegression(each, 3).solved(1.0, nothing(3)) for each in (seen, larger))
    np.testing.assert_allclose(large.kernel * 1000, small.kernel, atol=1e-3)


def test_a_weight_of_two_counts_as_two_images():
    seen = features(40, classes=2)
    rare = seen.labels == 1
    doubled = Features(
        np.concatenate([seen.inputs, seen.inputs[rare]]), np.concatenate([seen.labels, seen.labels[rare]])
    )
    weights = tuple(np.array([1.0, 2.0]) / np.mean([1.0, 2.0]))
    weighed = LogisticRegression(seen, 2, weights).solved(40.0, nothing(2))  # a strength counts for each image
    repeated = LogisticRegression(doubled, 2).solved(60.0, nothing(2))
    np.testing.assert_allclose(weighed.kernel, repeated.kernel, atol=2e-3)


def test_images_that_are_all_alike_give_the_parts_of_the_classes():
    labels = np.array([0, 0, 0, 1])
    head = LogisticRegression(Features(np.ones((4, WIDTH), np.float32), labels), 2).solved(1.0, nothing(2))
    np.testing.assert_allclose(softmax(np.ones((1, WIDTH)) @ head.kernel + head.bias), [[0.75, 0.25]], atol=1e-2)


@pytest.mark.parametrize("count", [20, 200], ids=["fewer rows than columns", "more"])
def test_axes_are_orthonormal_and_products_along_two_of_them_vanish(count: int):
    rows = features(count).inputs
    centred = rows - rows.mean(axis=0)
    axes = principal_axes(centred)
    np.testing.assert_allclose(axes.T @ axes, np.eye(axes.shape[1]), atol=1e-5)
    products = (centred @ axes).T @ (centred @ axes)
    np.testing.assert_allclose(products - np.diag(np.diag(products)), 0.0, atol=1e-3 * products.max())


def test_a_head_that_is_too_sure_is_shrunk_and_keeps_its_top_classes():
    seen, other = features(24), features(60, seed=4)
    sure = LogisticRegression(seen, 3).solved(1e-4, nothing(3))
    calm = shrunk(sure, other)
    assert objective(calm, other, decay=0.0) < objective(sure, other, decay=0.0)
    assert np.abs(calm.kernel).max() < np.abs(sure.kernel).max()
    tops = [(other.inputs @ head.kernel + head.bias).argmax(axis=1) for head in (sure, calm)]
    np.testing.assert_array_equal(*tops)


def test_a_head_that_is_right_everywhere_is_not_made_surer():
    seen = features(24)
    head = LogisticRegression(seen, 3).solved(0.1, nothing(3))
    np.testing.assert_array_equal(shrunk(head, seen).kernel, head.kernel)


def seen_of(classes: int) -> FeatureSet:
    """Features of images that a regression can tell apart, after some strengths better than after all."""
    sizes = {"train": 24, "validation": 60}
    return FeatureSet({name: features(size, classes, seed=size) for name, size in sizes.items()}, "0" * 64, 0.0)


def dataset_of(seen: FeatureSet, classes: int) -> Dataset:
    grey = {
        name: Split(np.zeros((len(each), *SPEC.shape), np.uint8), each.labels) for name, each in seen.splits.items()
    }
    return Dataset("grey", tuple("abc"[:classes]), grey)


def along(folder: Path, classes: int = 3, **options: object) -> tuple[object, list[Epoch], FeatureSet]:
    recipe = replace(on_tiny(), epochs=pretrained.STRENGTHS)
    seen = seen_of(classes)
    asked = FitOptions("grey", folder / "run", **options)  # type: ignore[arg-type]
    return *fit_head(recipe, dataset_of(seen, classes), seen, asked), seen


def courses(history: list[Epoch]) -> np.ndarray:
    return np.array([row[2:] for row in history])


@pytest.mark.parametrize("classes", [2, 3], ids=["one sigmoid unit", "softmax"])
def test_the_history_says_what_the_head_answers(classes: int, tmp_path: Path):
    head, history, seen = along(tmp_path, classes)
    answers = keras_function(inference_head(head))(seen.splits["validation"].inputs)
    labels = seen.splits["validation"].labels
    kept = min(history, key=lambda row: row.val_loss)
    assert (answers.argmax(axis=1) == labels).mean() == pytest.approx(kept.val_accuracy, abs=1e-6)
    assert -np.log(answers[np.arange(len(labels)), labels]).mean() == pytest.approx(kept.val_loss, abs=1e-4)
    assert kept.val_accuracy > 1.5 / classes


def test_the_path_ends_when_patience_does(tmp_path: Path):
    _, history, _ = along(tmp_path)
    best = min(history, key=lambda row: row.val_loss).epoch
    assert len(history) == best + pretrained.PATIENCE < pretrained.STRENGTHS
    _, all_of_it, _ = along(tmp_path / "all", patience=0)
    assert len(all_of_it) == pretrained.STRENGTHS


@pytest.mark.parametrize("stopped", [1, 4])
def test_a_resumed_path_takes_the_course_of_an_uninterrupted_one(stopped: int, tmp_path: Path):
    _, history, _ = along(tmp_path / "whole")
    along(tmp_path, epochs=stopped)
    _, resumed, _ = along(tmp_path, resume=True)
    np.testing.assert_allclose(courses(resumed), courses(history), atol=1e-5)


def test_every_seed_gives_the_same_head(tmp_path: Path):
    (_, one, _), (_, other, _) = (along(tmp_path / str(seed), seed=seed) for seed in (0, 1))
    np.testing.assert_allclose(courses(one), courses(other), atol=1e-6)


def test_strengths_fall_from_epoch_to_epoch():
    path = L2Path(strongest=8.0, ratio=0.5)
    assert [path.strength(epoch) for epoch in (1, 2, 3)] == [8.0, 4.0, 2.0]


def test_a_recipe_from_scratch_has_no_features_for_a_path():
    with pytest.raises(RecipeError, match="needs a backbone"):
        replace(on_tiny(), backbone=None)


def test_a_head_of_more_than_one_layer_is_refused(tmp_path: Path):
    from keras import layers

    def deep(classes: int, _: object) -> list[object]:
        return [layers.Dense(4), layers.Dense(classes, activation="softmax")]

    recipe: Recipe = replace(on_tiny(), network=deep)
    seen = seen_of(3)
    with pytest.raises(RecipeError, match="one dense layer"):
        fit_head(recipe, dataset_of(seen, 3), seen, FitOptions("grey", tmp_path / "run"))
