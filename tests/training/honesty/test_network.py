"""Promises of `training.honesty.network` and `features`: a second output that says what the distance says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier import store
from classifier.engines import EngineOptions, open_engine
from classifier.engines.openvino import keep_familiarity_in_float32, supports_bfloat16
from tests.tiny_models import familiarity_of, tiny_card, tiny_network

pytestmark = pytest.mark.slow

DRAW = np.random.default_rng(0)
SHAPE = (8, 8, 3)


def pictures(count: int, low: int = 80, high: int = 160) -> np.ndarray:
    return DRAW.integers(low, high, (count, *SHAPE), np.uint8)


@pytest.fixture(scope="module")
def scored() -> tuple[Any, Any, Any]:
    """A network with the second output, and the distances it was made of."""
    from training.honesty.choosing import Chosen, side_by_side
    from training.honesty.distance import fit_distance
    from training.honesty.features import feature_sets, reader
    from training.honesty.network import with_familiarity

    network = tiny_network(SHAPE, 3)
    features = feature_sets(network)["all of the last 2 stages and the last layer"]
    read = reader(network, features)
    labels = np.arange(600) % 3
    fitted = fit_distance(side_by_side(read(pictures(600)), features), labels, rank=16)
    distances = fitted.of(side_by_side(read(pictures(400)), features))
    two = with_familiarity(network, Chosen(features, fitted), distances)
    return two, lambda pixels: fitted.of(side_by_side(read(pixels), features)), distances


def test_familiarity_is_the_share_of_genuine_images_that_lie_further_off(scored: tuple[Any, Any, Any]):
    network, distance, genuine = scored
    pixels = np.concatenate([pictures(200), pictures(20, 0, 256)])
    probabilities, familiarity = (output.numpy() for output in network(pixels))
    expected = (genuine[None] > distance(pixels)[:, None]).mean(axis=1)
    assert familiarity.shape == (220, 1)
    np.testing.assert_allclose(familiarity[:, 0], expected, atol=0.01)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert 0 <= familiarity[200:].min() <= familiarity[200:].max() < 1e-6


def test_as_many_genuine_images_are_below_a_threshold_as_it_says(scored: tuple[Any, Any, Any]):
    network, _, _ = scored
    familiarity = network(pictures(2_000))[1].numpy()
    for threshold in (0.05, 0.2, 0.5):
        assert (familiarity < threshold).mean() == pytest.approx(threshold, abs=0.04)


def test_both_engines_and_the_saved_network_give_the_same_two_answers(scored: tuple[Any, Any, Any], tmp_path: Path):
    from training.export import export_onnx

    network, _, _ = scored
    network.save(tmp_path / store.KERAS)
    export_onnx(network, tmp_path / store.ONNX)
    pixels = np.concatenate([pictures(30), pictures(5, 0, 256)])
    probabilities, familiarity = (output.numpy() for output in network(pixels))
    card = tiny_card(**familiarity_of())
    for name in ("openvino", "tensorflow"):
        engine = open_engine(card, tmp_path, EngineOptions(engine=name, precision="float32"))
        try:
            for found in (engine.answer(pixels), engine.submit(pixels).result()):
                np.testing.assert_allclose(found.probabilities, probabilities, atol=1e-5)
                np.testing.assert_allclose(found.familiarity, familiarity[:, 0], atol=1e-3)
            assert engine.answer(pixels[:1]).familiarity.shape == (1,)
        finally:
            engine.close()


def test_16_bits_leave_the_distance_alone(scored: tuple[Any, Any, Any], tmp_path: Path):
    network, _, _ = scored
    network.save(tmp_path / store.KERAS)
    engine = open_engine(tiny_card(**familiarity_of()), tmp_path, EngineOptions("tensorflow", "bfloat16"))
    pixels = pictures(50)
    expected = network(pixels)[1].numpy()[:, 0]
    assert np.abs(engine.answer(pixels).familiarity - expected).mean() < 0.1
    engine.close()


@pytest.mark.skipif(not supports_bfloat16(), reason="this processor has no native bfloat16")
def test_openvino_keeps_the_distance_in_float32_where_the_rest_is_in_bfloat16(
    scored: tuple[Any, Any, Any], tmp_path: Path
):
    from training.export import export_onnx

    network, _, _ = scored
    export_onnx(network, tmp_path / store.ONNX)
    pixels = np.concatenate([pictures(200), pictures(20, 0, 256)])
    probabilities, familiarity = (output.numpy() for output in network(pixels))
    engine = open_engine(tiny_card(**familiarity_of()), tmp_path, EngineOptions("openvino", "bfloat16"))
    try:
        found = engine.answer(pixels)
    finally:
        engine.close()
    assert np.abs(found.probabilities - probabilities).max() > 1e-5
    assert np.abs(found.familiarity - familiarity[:, 0]).mean() < 0.02


def test_products_that_only_the_familiarity_needs_are_computed_otherwise_and_give_the_same(
    scored: tuple[Any, Any, Any], tmp_path: Path
):
    import openvino as ov

    from training.export import export_onnx

    network, _, _ = scored
    export_onnx(network, tmp_path / store.ONNX)
    read = ov.Core().read_model(tmp_path / store.ONNX)
    pixels = pictures(20)
    expected = answers(read, pixels)
    keep_familiarity_in_float32(read)
    kinds = [node.get_type_name() for node in read.get_ops()]
    assert (kinds.count("MatMul"), kinds.count("ConvolutionBackpropData")) == (1, 2)  # that of the logits stays
    for found, wanted in zip(answers(read, pixels), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def answers(network: Any, pixels: np.ndarray) -> list[np.ndarray]:
    import openvino as ov

    compiled = ov.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [np.array(value) for value in compiled(pixels).values()]


def test_the_stages_of_a_network_are_the_last_layers_of_each_size():
    from training.honesty.features import stages

    network = tiny_network(SHAPE, 3)
    names = [layer.name for layer in network.layers]
    assert [names.index(name) for name in stages(network)] == [2, 3]  # convolved, which cuts off a rim, and pooled


def test_sets_of_features_reach_from_the_last_stage_to_all_of_them():
    from training.honesty.features import DEVIATION, LAST, MEAN, feature_sets, stages

    network = tiny_network(SHAPE, 3)
    first, last = stages(network)
    sets = list(feature_sets(network).values())
    assert sets[0] == (LAST,)
    assert sets[1:3] == [(f"{last}/{MEAN}",), (f"{last}/{MEAN}", LAST)]
    assert sets[-1] == (f"{first}/{MEAN}", f"{last}/{MEAN}", f"{first}/{DEVIATION}", f"{last}/{DEVIATION}", LAST)


@pytest.mark.parametrize("with_dropout", [False, True])
def test_a_mean_that_the_last_layer_reads_is_in_no_set_twice(with_dropout: bool):
    import keras
    from keras import layers

    from training.honesty.features import feature_sets

    pixels = keras.Input((8, 8, 3), dtype="uint8")
    large = layers.Conv2D(4, 3, padding="same", name="large")(layers.Rescaling(1 / 255)(pixels))
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, strides=2, name="small")(large))
    seen = layers.Dropout(0.5)(pooled) if with_dropout else pooled
    network = keras.Model(pixels, layers.Dense(2)(seen))
    assert list(feature_sets(network).values()) == [
        ("last",),
        ("last", "small/deviation"),
        ("large/mean", "last"),
        ("large/mean", "last", "large/deviation", "small/deviation"),
    ]


def test_a_networks_multiply_adds_are_those_of_its_convolutions_and_matrices():
    import keras

    from training.honesty.features import multiply_adds

    pixels = keras.Input((8, 8, 3), dtype="uint8")
    seen = keras.layers.Conv2D(4, 3)(keras.layers.Rescaling(1 / 255)(pixels))  # 6 x 6 positions
    seen = keras.layers.DepthwiseConv2D(3)(keras.layers.BatchNormalization()(seen))  # 4 x 4
    network = keras.Model(pixels, keras.layers.Dense(2)(keras.layers.Flatten()(seen)))
    assert multiply_adds(network) == 36 * 27 * 4 + 16 * 9 * 4 + 64 * 2


def test_more_features_and_more_directions_cost_more():
    from training.honesty.features import LAST, cost, stages

    network = tiny_network(SHAPE, 3)
    mean, deviation = (f"{stages(network)[0]}/{each}" for each in ("mean", "deviation"))
    rising = [
        cost(network, *each, 3) for each in (((LAST,), 4), ((LAST,), 8), ((LAST, mean), 8), ((LAST, deviation), 8))
    ]
    assert rising == sorted(set(rising))
