"""`training.releasing.quantization`: an int8 version is saved where it answers nearly as in float32, else refused.

A network in float32 stands for the int8 one, but in the last test, which needs NNCF.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from classifier import store
from classifier.card import NEWEST_FORMAT, Card
from classifier.engines import EngineOptions, openvino
from classifier.errors import EngineUnavailable
from classifier.loaded_model import LoadedModel
from classifier.store import ModelStore
from classifier.verification import verify
from tests.tiny_models import export_onnx, save_tiny_model, scored
from training.__main__ import main
from training.datasets.dataset import Dataset, Split
from training.releasing import quantization
from training.releasing.int8_network import int8_network, needed_by
from training.releasing.policy import Policy
from training.releasing.quantization import CALIBRATION_IMAGES, FLOAT_CONVOLUTIONS, NotQuantized, quantize

NAME, SEED = "lamps", 6  # of a network that gives every label to some images
LABELS = ("red", "green", "blue")
CLOCK_ASIDE = Policy(max_p50_ratio=1000.0)  # a busy machine is no reason here


class Case:
    """A store with one version, and images that it labels rightly in float32."""

    def __init__(self, models: ModelStore, sizes: Sequence[int] = (500, 1000, 1000)) -> None:
        self.models = models
        self.card = save_tiny_model(models, NAME, LABELS, seed=SEED, with_familiarity=True)
        loaded = LoadedModel.open(models, NAME, options=EngineOptions("openvino", "float32"))
        rng, splits = np.random.default_rng(0), {}
        for name, size in zip(("train", "validation", "test"), sizes, strict=True):
            pixels = (rng.integers(0, 256, (size, 8, 8, 3)) * rng.random((size, 1, 1, 3))).astype(np.uint8)
            splits[name] = Split(pixels, np.asarray(loaded.engine.infer(pixels).argmax(axis=1), np.int64))
        loaded.close()
        self.dataset = Dataset("lamps", LABELS, splits)

    def quantized(self, policy: Policy = CLOCK_ASIDE) -> Card:
        return quantize(self.models, self.card, self.dataset, policy)


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    for module in (openvino, quantization):
        monkeypatch.setattr(module, "supports_int8", lambda: True)
    return Case(ModelStore(tmp_path / "models"))


def fake(monkeypatch: pytest.MonkeyPatch, make: Callable[[Any, Any, int], Any]) -> None:
    monkeypatch.setattr(quantization, "int8_network", make)


def weaker(network: Any, *_: Any) -> Any:
    """The network without the weights of its last layer: every answer is the same."""
    last = [node for node in network.graph.node if node.op_type == "MatMul"][-1]
    for tensor in network.graph.initializer:
        if tensor.name in last.input:
            tensor.CopyFrom(onnx.numpy_helper.from_array(0 * onnx.numpy_helper.to_array(tensor), tensor.name))
    return network


def test_the_new_version_has_both_networks_and_says_what_int8_changed(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    fake(monkeypatch, lambda network, pixels, _: asked.append(pixels) or network)
    card = case.quantized()
    assert (card.version, card.format, card.released) == (2, NEWEST_FORMAT, None)
    assert {file: card.files[file] for file in case.card.files} == case.card.files
    assert case.models.verify(NAME, 2) == card
    made = card.quantization
    assert made is not None
    assert (made.from_version, made.images, asked[0].shape) == (1, CALIBRATION_IMAGES, (CALIBRATION_IMAGES, 8, 8, 3))
    assert list(made.changes) == ["validation", "test"]
    for change in made.changes.values():
        assert change.images == 1000
        assert change.before == change.after
        assert change.before.accuracy == 1.0
        assert change.before.recall == (1.0, 1.0, 1.0)
        assert 0 < (change.before.familiarity_threshold or 0) < 1
    check = card.check_of("openvino", "int8")
    assert check is not None
    assert (check.split, check.images, check.same_top_class, check.same_verdict) == ("test", 1000, 1.0, 1.0)


def test_auto_serves_the_new_version_in_int8_and_verify_proves_it(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, lambda network, *_: network)
    card = case.quantized()
    loaded = LoadedModel.open(case.models, NAME, options=EngineOptions("openvino"))
    loaded.close()
    assert (loaded.card.version, loaded.engine.precision) == (2, "int8")
    assert verify(case.models, NAME, card.version, ("openvino",)).fault is None


def test_a_network_that_answers_otherwise_is_refused_and_leaves_nothing(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(monkeypatch, weaker)
    with pytest.raises(NotQuantized, match=r"lamps version 1 is not saved in int8: .*accuracy: .* in place of 1\.0000"):
        case.quantized()
    assert case.models.versions() == {NAME: (1,)}
    assert list(case.models.root.glob(".draft*")) == []


def test_more_convolutions_stay_in_float32_where_fewer_are_refused(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    fewer, more = FLOAT_CONVOLUTIONS
    tried = []
    fake(monkeypatch, lambda network, _, count: tried.append(count) or (weaker(network) if count < more else network))
    assert case.quantized().version == 2
    assert tried == [fewer, more]


def test_the_release_policy_is_kept(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, lambda network, *_: network)
    with pytest.raises(NotQuantized, match="size: "):
        case.quantized(Policy(max_p50_ratio=1000.0, max_size_mb=0.001))


def test_too_few_test_images_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (openvino, quantization):
        monkeypatch.setattr(module, "supports_int8", lambda: True)
    few = Case(ModelStore(tmp_path / "models"), sizes=(60, 60, 60))
    fake(monkeypatch, lambda network, *_: network)
    with pytest.raises(NotQuantized, match="60 test images are too few to tell; 1,000 are needed"):
        few.quantized()


def test_a_processor_that_is_not_made_for_int8_is_named(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "supports_int8", lambda: False)
    with pytest.raises(EngineUnavailable, match="neither VNNI nor AMX"):
        case.quantized()


def test_without_nncf_the_command_says_what_to_install(
    tiny_models_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(["quantize", "tiny-colour", "--data", "photos", "--models", str(tiny_models_root)]) == 1
    assert 'pip install "sightline[quantize]"' in capsys.readouterr().err


@pytest.mark.slow
def test_nncf_makes_integers_of_weights_and_leaves_familiarity_alone(tmp_path: Path) -> None:
    network = scored(of_five_convolutions())
    export_onnx(network, tmp_path / store.ONNX)
    pixels = (np.random.default_rng(0).integers(0, 256, (300, 8, 8, 3))).astype(np.uint8)
    made = int8_network(onnx.load(tmp_path / store.ONNX), pixels, 3)
    first, second = (needed_by(made.graph, output.name) for output in made.graph.output)
    steps = {node.name: node.op_type for node in made.graph.node}
    assert [steps[name] for name in first].count("QuantizeLinear") >= 2  # of the fourth and the fifth convolution
    assert "QuantizeLinear" not in {steps[name] for name in second - first}
    assert onnx.TensorProto.INT8 in {tensor.data_type for tensor in made.graph.initializer}
    onnx.save(made, tmp_path / store.INT8)
    run, expected = openvino_of(tmp_path / store.INT8), network(pixels, training=False)
    np.testing.assert_allclose(run(pixels)[0], expected[0].numpy(), atol=0.1)
    np.testing.assert_allclose(run(pixels)[1], expected[1].numpy(), atol=1e-4)


def of_five_convolutions() -> Any:
    import keras

    pixels = keras.Input((8, 8, 3), dtype="uint8", name="pixels")
    x = keras.layers.Rescaling(1 / 128, offset=-127 / 128)(pixels)
    for number in range(5):
        kernel = keras.initializers.HeNormal(seed=number)
        x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", kernel_initializer=kernel)(x)
    kernel = keras.initializers.GlorotNormal(seed=5)
    x = keras.layers.Dense(3, activation="softmax", kernel_initializer=kernel)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(pixels, x)


def openvino_of(path: Path) -> Callable[[Any], Sequence[Any]]:
    """The network of a file as OpenVINO runs it."""
    import openvino as ov

    compiled = ov.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda pixels: list(compiled(pixels).values())
