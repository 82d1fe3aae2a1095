"""What `cifar-10-fast` begins with, and how its steps change on the way."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from training.recipes import RECIPES
from training.recipes.airbench.initialisation import HEAD_SCALE, initialise, partial_identity, whitening_filters
from training.recipes.airbench.optimisation import Lookahead, SGDWithMultipliers, Triangle


def blurred_noise(count: int = 200, side: int = 16) -> np.ndarray:
    """Images whose neighbouring pixels and channels are alike, as those of photos are: float32, of variance about 1."""
    noise = np.random.default_rng(0).normal(size=(count, side + 1, side + 1, 3))
    alike = noise[:, 1:, 1:] + noise[:, :-1, 1:] + noise[:, 1:, :-1] + 0.5 * noise.mean(axis=3)[:, 1:, 1:, None]
    return np.asarray(alike / alike.std(), np.float32)


def test_whitening_filters_make_the_values_of_patches_uncorrelated_with_a_variance_of_one():
    images = blurred_noise()
    seen = np.asarray(keras.ops.conv(images, whitening_filters(images), padding="valid"))[..., :12].reshape(-1, 12)
    np.testing.assert_allclose(seen.T @ seen / len(seen), np.eye(12), atol=0.02)


def test_each_whitening_filter_has_its_negative():
    filters = whitening_filters(blurred_noise())
    assert filters.shape == (2, 2, 3, 24)
    np.testing.assert_array_equal(filters[..., 12:], -filters[..., :12])


def test_a_partial_identity_hands_its_input_on_and_leaves_the_other_filters_alone():
    images = blurred_noise(4)
    drawn = np.random.default_rng(0).normal(size=(3, 3, 3, 8)).astype(np.float32)
    seen = np.asarray(keras.ops.conv(images, partial_identity(drawn), padding="same"))
    np.testing.assert_allclose(seen[..., :3], images, atol=1e-6)
    np.testing.assert_array_equal(partial_identity(drawn)[..., 3:], drawn[..., 3:])


def begun() -> tuple[Any, Any]:
    """Layers as those of `cifar-10-fast`, before and after `initialise`."""
    from keras import layers

    stack = [
        layers.Rescaling(1 / 128, offset=-1.0),
        layers.Conv2D(24, 2, name="whitening"),
        layers.Conv2D(30, 3, name="conv2d"),
        layers.Flatten(),
        layers.Dense(10, name="probabilities"),
    ]
    network = keras.Sequential([keras.Input((8, 8, 3)), *stack])
    head = np.array(network.layers[-1].kernel)
    initialise(network, np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), np.uint8))
    return network, head


def test_the_whitening_filters_and_the_missing_bias_of_the_head_are_not_trained():
    network, _ = begun()
    trained = {weight.path.partition("/")[2] for weight in network.trainable_weights}
    assert trained == {"whitening/bias", "conv2d/kernel", "conv2d/bias", "probabilities/kernel"}


def test_every_other_convolution_begins_as_an_identity_and_the_head_scaled_down():
    network, head = begun()
    np.testing.assert_array_equal(np.asarray(network.layers[2].kernel)[1, 1, :, :24], np.eye(24))
    np.testing.assert_allclose(np.asarray(network.layers[-1].kernel), head * HEAD_SCALE, rtol=1e-6)


def one_weight(optimizer: Any) -> Any:
    """A network whose loss falls by as much as its one weight rises: each step adds the learning rate to it."""
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    network.compile(optimizer, loss=lambda _, answers: -answers[:, 0])
    return network


def fitted(network: Any, *callbacks: Any, epochs: int = 2, initial_epoch: int = 0) -> float:
    """The weight after epochs of four steps."""
    ones = np.ones((4, 1), np.float32)
    network.fit(
        ones, ones, batch_size=1, epochs=epochs, initial_epoch=initial_epoch, callbacks=list(callbacks), verbose=0
    )
    return float(np.asarray(network.weights[0])[0, 0])


class _Rates(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    def on_train_begin(self, logs: Any = None) -> None:
        self.seen: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen.append(float(np.asarray(self.model.optimizer.learning_rate)))


def test_the_learning_rate_rises_to_its_peak_and_falls_and_a_resumed_fit_goes_on_with_it():
    triangle, rates = Triangle(8, peak_rate=2.0, start=0.5, peak_at=0.25, end=0.25), _Rates()
    fitted(one_weight(keras.optimizers.SGD()), triangle, rates)
    np.testing.assert_allclose(rates.seen, [1.0, 1.5, 2.0, 1.75, 1.5, 1.25, 1.0, 0.75])
    fitted(one_weight(keras.optimizers.SGD()), triangle, rates, initial_epoch=1)
    np.testing.assert_allclose(rates.seen, [1.5, 1.25, 1.0, 0.75])


def test_lookahead_ends_an_epoch_with_the_average():
    steps = one_weight(keras.optimizers.SGD(1.0))
    assert fitted(steps, Lookahead(8, after=1, every=3, decay=0.5), epochs=1) == pytest.approx(4.0)  # not yet
    # Step 6 is averaged: 4 before the epoch, 6 now; of the cube of six eighths and an eighth is kept. The rest is lost.
    kept = 0.5**3 * (6 / 8) ** 3
    averaged = kept * 4.0 + (1 - kept) * 6.0
    lookahead = Lookahead(8, after=1, every=3, decay=0.5)
    assert fitted(steps, lookahead, initial_epoch=1) == pytest.approx(averaged, rel=1e-5)


def test_some_variables_learn_faster_than_others_and_all_decay_alike():
    from keras import layers

    network = keras.Sequential(
        [keras.Input((1,)), *(layers.Dense(1, use_bias=False, name=n, kernel_initializer="ones") for n in ("a", "b"))]
    )
    optimizer = SGDWithMultipliers({"b/kernel": 10.0}, learning_rate=0.1, momentum=0.0, weight_decay=1.0)
    network.compile(optimizer, loss=lambda _, answers: -answers[:, 0])
    network.fit(np.ones((1, 1)), np.ones((1, 1)), verbose=0)
    slow, fast = (float(np.asarray(weight)[0, 0]) for weight in network.weights)
    assert (slow, fast) == (pytest.approx(1.0 - 0.1 + 0.1), pytest.approx(1.0 - 0.1 + 1.0))


def test_the_recipe_is_that_of_the_article_with_twice_its_epochs():
    recipe = RECIPES["cifar-10-fast"]
    assert (recipe.epochs, recipe.batch_size, recipe.label_smoothing) == (20, 1024, 0.2)
    assert recipe.augmentation.alternates
    optimizer = recipe.optimizer()
    assert float(np.asarray(optimizer.learning_rate)) == pytest.approx(1.5)
    assert (optimizer.momentum, optimizer.nesterov) == (0.85, True)
