from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from classifier.engines.openvino import supports_bfloat16
from tests.training.tiny_backbone import on_tiny
from training.fitting.networks import training_network
from training.recipes import RECIPES
from training.recipes.recipe import Statistics

needs_bfloat16 = pytest.mark.skipif(not supports_bfloat16(), reason="this processor has no native bfloat16")


@needs_bfloat16
def test_in_mixed_precision_scaling_augmentation_and_the_last_layer_stay_in_float32():
    network = training_network(RECIPES["cats-vs-dogs-180-augmented"], 2, Statistics((0.0,), (1.0,)), "bfloat16")
    computed = {type(layer).__name__: str(layer.compute_dtype) for layer in network.layers}
    assert computed["Conv2D"] == "bfloat16"
    for name in ("RandomFlip", "RandomRotation", "RandomZoom", "Rescaling", "Dense"):
        assert computed[name] == "float32"


@pytest.mark.slow
def test_weights_are_kept_in_float32_whatever_the_precision():
    network = training_network(RECIPES["asl-augmented"], 24, Statistics((0.0,), (1.0,)), "bfloat16")
    assert {weight.dtype for weight in network.trainable_weights} == {"float32"}


def test_a_network_of_reduced_images_has_the_weights_of_the_one_at_full_size():
    recipe = on_tiny("finetuned")
    whole, reduced = (training_network(recipe, 3, Statistics((0.0,), (1.0,)), "float32", side=s) for s in (None, 10))
    assert [layer.output.shape[1:3] for layer in reduced.layers if layer.name == "reduced"] == [(10, 10)]
    assert reduced.input_shape == whole.input_shape
    reduced.set_weights(whole.get_weights())
    flat = np.full((2, *recipe.input.shape), 90, np.uint8)
    small = replace(recipe, input=recipe.input.model_copy(update={"height": 10, "width": 10}))
    at_that_size = training_network(small, 3, Statistics((0.0,), (1.0,)), "float32")
    at_that_size.set_weights(whole.get_weights())
    np.testing.assert_allclose(reduced(flat), at_that_size(flat[:, :10, :10]), atol=1e-6)


def test_building_a_network_leaves_keras_default_precision_alone():
    import keras

    training_network(RECIPES["asl-augmented"], 24, Statistics((0.0,), (1.0,)), "bfloat16")
    assert keras.config.dtype_policy().name == "float32"


def test_the_loss_fits_the_last_layer():
    binary = training_network(RECIPES["cats-vs-dogs-blog"], 2, Statistics((0.0,), (1.0,)), "float32")
    many = training_network(RECIPES["asl-baseline"], 24, Statistics((0.0,), (1.0,)), "float32")
    assert type(binary.loss).__name__ == "BinaryCrossentropy"
    assert type(many.loss).__name__ == "SparseCategoricalCrossentropy"


def test_smoothed_labels_have_a_part_of_every_class():
    recipe = replace(RECIPES["asl-baseline"], label_smoothing=0.24)
    network = training_network(recipe, 24, Statistics((0.0,), (1.0,)), "float32")
    pixels, labels = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8), np.array([0, 5, 23])
    logs = -np.log(np.asarray(network(pixels), np.float64))
    expected = 0.76 * logs[np.arange(3), labels].mean() + 0.24 * logs.mean()
    assert network.evaluate(pixels, labels, verbose=0)[0] == pytest.approx(expected, rel=1e-4)


def test_statistics_are_those_of_training_and_validation_images_together():
    from training.datasets.dataset import Dataset, Split
    from training.recipes.recipe import statistics_of

    rng = np.random.default_rng(0)
    labels = np.array([0, 1] * 3, np.int64)
    splits = {n: Split(rng.integers(0, 256, (6, 4, 4, 3), np.uint8), labels) for n in ("train", "validation", "test")}
    found = statistics_of(Dataset("made", ("a", "b"), splits))
    pixels = np.concatenate([splits["train"].pixels, splits["validation"].pixels]).astype(np.float64)
    np.testing.assert_allclose(found.mean, pixels.mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(found.deviation, pixels.std(axis=(0, 1, 2)))
