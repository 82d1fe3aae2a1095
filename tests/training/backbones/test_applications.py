"""`training.backbones.applications`: networks of Keras, with their own preprocessing inside."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier.engines import keras_archive
from training.backbones import EFFICIENTNET_V2_B0, FEATURES, MOBILENET_V2, Backbone, BackboneError

pytestmark = pytest.mark.slow

BOTH = pytest.mark.parametrize("backbone", [MOBILENET_V2, EFFICIENTNET_V2_B0], ids=lambda backbone: backbone.name)
SIDE = 64


def network(backbone: Backbone) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    pixels = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="pixels")
    return keras.Model(pixels, backbone.build(pixels, False))


def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)


@BOTH
def test_it_turns_uint8_pixels_into_features(backbone: Backbone):
    built = network(backbone)
    assert built.layers[-1].name == FEATURES
    assert built.output_shape == (None, 1280)
    assert np.isfinite(np.asarray(built(pictures()))).all()


@BOTH
def test_every_part_that_may_be_thawed_is_a_layer(backbone: Backbone):
    names = [layer.name for layer in network(backbone).layers]
    positions = [names.index(top) for top in backbone.tops]
    assert positions == sorted(positions)


def test_mobilenets_normalisation_is_that_of_keras():
    from keras.applications.mobilenet_v2 import preprocess_input

    normalised = np.asarray(network(MOBILENET_V2).get_layer("normalisation")(pictures()))
    np.testing.assert_allclose(normalised, preprocess_input(pictures().astype(np.float32)), atol=1e-5)


def test_efficientnets_normalisation_is_that_of_keras():
    import keras

    ours = network(EFFICIENTNET_V2_B0)
    theirs = keras.applications.EfficientNetV2B0(
        include_top=False, weights=None, input_shape=(SIDE, SIDE, 3), pooling="avg", include_preprocessing=True
    )
    with_weights = [layer for layer in theirs.layers if layer.weights and layer.name != "normalization"]
    for source, target in zip(with_weights, (layer for layer in ours.layers if layer.weights), strict=True):
        target.set_weights(source.get_weights())
    np.testing.assert_allclose(np.asarray(ours(pictures())), np.asarray(theirs(pictures())), rtol=1e-3, atol=1e-5)


@BOTH
def test_it_is_saved_without_code_and_exported_as_it_answers(backbone: Backbone, tmp_path: Path):
    import keras
    import openvino as ov

    from training.export import export_onnx

    built = network(backbone)
    built.save(tmp_path / "model.keras")
    keras_archive.check(tmp_path / "model.keras", (tmp_path / "model.keras").read_bytes())
    keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    usual = gc.get_threshold()
    export_onnx(built, tmp_path / "model.onnx")
    assert (gc.get_threshold(), gc.get_freeze_count()) == (usual, 0)  # it changes them meanwhile
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.Core().compile_model(tmp_path / "model.onnx", "CPU", exact)
    np.testing.assert_allclose(compiled(pictures())[0], np.asarray(built(pictures())), rtol=1e-3, atol=1e-4)


def test_weights_that_cannot_be_downloaded_are_an_error_that_names_another_way(monkeypatch: pytest.MonkeyPatch):
    import keras

    asked = []

    def unreachable(**options: Any) -> Any:
        asked.append(options["weights"])
        raise OSError("URL fetch failure")

    monkeypatch.setattr(keras.applications, "MobileNetV2", unreachable)
    pixels = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    with pytest.raises(BackboneError, match=r"cannot be downloaded \(URL fetch failure\).*efficientnet-lite0"):
        MOBILENET_V2.build(pixels, True)
    assert asked == ["imagenet"]
