"""Promises of `training.honesty.temperature`: answers become as sure as they are right, and stay the same answers."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tiny_models import tiny_network
from training.honesty.temperature import NoLogits, divide_logits, fit_temperature


def answers(temperature: float, count: int = 20_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of three classes that are right exactly as often as they say, once they are at this temperature."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 2, (count, 3))
    right = softmax(logits)
    labels = (draw.random(count)[:, None] > right.cumsum(axis=1)).sum(axis=1)
    return softmax(logits * temperature).astype(np.float32), labels


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [0.4, 2.5])
def test_a_network_that_is_too_sure_or_too_timid_gets_the_temperature_that_it_is_off_by(temperature: float):
    assert fit_temperature(*answers(temperature)) == pytest.approx(temperature, rel=0.05)


def test_without_a_mistake_among_few_images_answers_do_not_become_certain():
    rows = np.tile(np.float32([0.9, 0.1]), (60, 1))
    temperature = fit_temperature(rows, np.zeros(60, np.int64))
    at = softmax(np.log(rows) / temperature)[0, 0]
    assert at == pytest.approx(1 - 0.5 / 61, abs=1e-4)  # half a mistake more than there is


def test_a_temperature_that_the_images_do_not_ask_for_is_not_taken():
    assert fit_temperature(*answers(1.0, count=2_000)) == 1.0
    assert fit_temperature(*answers(1.3, count=60)) == 1.0
    assert fit_temperature(*answers(1.3, count=20_000)) > 1.2


def test_probabilities_of_0_and_1_can_be_fitted():
    rows = np.float32([[1, 0]] * 99 + [[0, 1]])
    assert np.isfinite(fit_temperature(rows, np.zeros(100, np.int64)))


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.3, 4.0])
def test_a_network_at_a_temperature_answers_as_its_logits_divided_and_names_the_same_labels(temperature: float):
    network = tiny_network((8, 8, 3), 4)
    pixels = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 3), np.uint8)
    before = network(pixels).numpy()
    divide_logits(network, temperature)
    after = network(pixels).numpy()
    np.testing.assert_allclose(after, softmax(np.log(before) / temperature), atol=1e-5)
    np.testing.assert_array_equal(after.argmax(axis=1), before.argmax(axis=1))


@pytest.mark.slow
def test_a_network_without_logits_is_refused():
    import keras

    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="relu")])
    with pytest.raises(NoLogits, match="sigmoid or softmax"):
        divide_logits(network, 2.0)
