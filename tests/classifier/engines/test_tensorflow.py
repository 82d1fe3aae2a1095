"""Promises of `classifier.engines.tensorflow` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier import store
from classifier.engines import EngineOptions, open_engine
from classifier.errors import BrokenModel, EngineUnavailable, OutOfMemory
from tests.tiny_models import COLOUR, GREY, add_int8, passed_check

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3), np.uint8)


class Frozen:
    """What TensorFlow froze, and what it was asked since."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.batches: list[int] = []
        self.error: Exception | None = None  # to be raised instead of an answer

    def __call__(self, pixels: Any) -> Any:
        self.batches.append(len(pixels))
        if self.error:
            raise self.error
        return self.function(pixels)


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> list[Frozen]:
    """Every function that an engine has TensorFlow freeze."""
    from classifier.engines import tensorflow as module

    made, freeze = [], module.convert_variables_to_constants_v2

    def noted(traced: Any) -> Frozen:
        made.append(Frozen(freeze(traced)))
        return made[-1]

    monkeypatch.setattr(module, "convert_variables_to_constants_v2", noted)
    return made


def options(**changes: object) -> EngineOptions:
    return EngineOptions(**({"engine": "tensorflow", "precision": "float32"} | changes))


def test_auto_takes_bfloat16_where_a_comparison_allows_it(models, monkeypatch):
    from classifier.engines import tensorflow as module

    monkeypatch.setattr(module, "has_native_bfloat16", lambda: True)
    card = models.card(GREY).model_copy(update={"checks": (passed_check("tensorflow", "bfloat16"),)})
    engine = open_engine(card, models.folder(GREY), options(precision="auto"))
    engine.close()
    assert engine.precision == "bfloat16"


def test_auto_stays_in_float32_on_a_processor_without_bfloat16(models, monkeypatch):
    from classifier.engines import tensorflow as module

    monkeypatch.setattr(module, "has_native_bfloat16", lambda: False)
    card = models.card(GREY).model_copy(update={"checks": (passed_check("tensorflow", "bfloat16"),)})
    engine = open_engine(card, models.folder(GREY), options(precision="auto"))
    engine.close()
    assert engine.precision == "float32"


@pytest.mark.parametrize(
    ("cpuinfo", "native"),
    [
        ("flags\t: fpu avx512f avx512_bf16 amx_tile", True),
        ("flags\t: fpu avx512f avx512_bitalg", False),
        ("Features\t: fp asimd bf16 i8mm", True),
        (None, False),
    ],
    ids=["x86 with it", "x86 without it", "Arm", "not Linux"],
)
def test_the_processor_is_asked_whether_it_multiplies_bfloat16(monkeypatch, cpuinfo, native):
    from classifier.engines import tensorflow as module

    def read_text(_: Path) -> str:
        if cpuinfo is None:
            raise FileNotFoundError
        return cpuinfo

    monkeypatch.setattr(Path, "read_text", read_text)
    assert module.has_native_bfloat16() is native


def test_the_network_runs_frozen_with_its_weights_as_constants(models, frozen):
    engine = open_engine(models.card(COLOUR), models.folder(COLOUR), options())
    (runs,) = frozen
    steps = {step.type for step in runs.function.graph.get_operations()}
    assert not runs.function.variables
    assert "Const" in steps
    assert "ReadVariableOp" not in steps
    engine.close()


def test_a_batch_that_memory_is_short_for_is_said_to_be(models, frozen):
    import tensorflow as tf

    engine = open_engine(models.card(COLOUR), models.folder(COLOUR), options())
    frozen[0].error = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
    with pytest.raises(OutOfMemory, match="a batch of 64"):
        engine.infer(PIXELS)
    frozen[0].error = None
    assert engine.infer(PIXELS[:2]).shape == (2, 3)
    engine.close()


def test_the_network_is_traced_once_whatever_the_batch_size(models, frozen):
    engine = open_engine(models.card(COLOUR), models.folder(COLOUR), options(warm_batch_sizes=()))
    for size in (1, 2, 5):
        engine.infer(PIXELS[:size])
    engine.close()
    (runs,) = frozen
    assert [tuple(tensor.shape) for tensor in runs.function.inputs] == [(None, 8, 8, 3)]
    assert runs.batches == [1, 2, 5]


def test_the_engine_is_warm_when_it_is_handed_out(models, monkeypatch):
    from classifier.engines.tensorflow import TensorFlowEngine

    sizes = []
    monkeypatch.setattr(TensorFlowEngine, "answer", lambda _, pixels: sizes.append(pixels.shape))
    open_engine(models.card(COLOUR), models.folder(COLOUR), options(warm_batch_sizes=(1, 4))).close()
    assert sizes == [(1, 8, 8, 3), (4, 8, 8, 3)]


def test_a_network_with_code_inside_is_not_loaded(own_models):
    import keras

    pixels = keras.Input((8, 8, 3), dtype="uint8")
    x = keras.layers.Lambda(lambda x: x * 1.0)(keras.layers.Rescaling(1 / 255)(pixels))
    network = keras.Model(pixels, keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(x)))
    path = own_models.folder(COLOUR) / store.KERAS
    network.save(path)
    with pytest.raises(BrokenModel, match=r"model\.keras: Keras cannot load it"):
        open_engine(own_models.card(COLOUR), path.parent, options())


def test_tensorflow_runs_a_version_with_int8_in_float32(own_models):
    card = add_int8(own_models, COLOUR, of_version=1)
    engine = open_engine(card, own_models.folder(COLOUR), EngineOptions("tensorflow"))
    engine.close()
    assert engine.precision == "float32"
    with pytest.raises(EngineUnavailable, match="int8 is for the OpenVINO engine"):
        open_engine(card, own_models.folder(COLOUR), EngineOptions("tensorflow", "int8"))
