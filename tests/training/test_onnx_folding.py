"""Promises of `training.onnx_folding`: the same answers, from pixels that reach the first convolution as they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import openvino as ov
import pytest
from onnx import TensorProto, helper, numpy_helper

from training.onnx_folding import fold_scale

RNG = np.random.default_rng(1)
PIXELS = RNG.integers(0, 256, (6, 8, 8, 3), np.uint8)

Step = tuple[str, float | Sequence[float]]


def network(*scaling: Step, used_twice: bool = False) -> onnx.ModelProto:
    """Cast, these steps, transpose, convolve with zeros around the image, softmax: as exported networks begin."""
    steps, constants, value = [helper.make_node("Cast", ["x"], ["floats"], to=TensorProto.FLOAT)], [], "floats"
    for number, (operator, with_value) in enumerate(scaling):
        constants.append(numpy_helper.from_array(np.asarray(with_value, np.float32), f"constant{number}"))
        steps.append(helper.make_node(operator, [value, f"constant{number}"], [f"step{number}"]))
        value = f"step{number}"
    weights = RNG.normal(0, 0.05, (3, 3, 3, 3)).astype(np.float32)
    constants.append(numpy_helper.from_array(weights, "weights"))
    steps += [
        helper.make_node("Transpose", [value], ["channels_first"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["channels_first", "weights"], ["maps"], pads=[1, 1, 1, 1]),
        helper.make_node("ReduceMean", ["maps"], ["scores"], axes=[2, 3], keepdims=0),
        helper.make_node("Softmax", ["scores"], ["y"], axis=1),
    ]
    if used_twice:
        steps.append(helper.make_node("Flatten", ["floats"], ["unused"]))
    graph = helper.make_graph(
        steps,
        "scales",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["n", 8, 8, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


def answers(model: onnx.ModelProto) -> np.ndarray:
    core = ov.Core()
    exact = {"INFERENCE_PRECISION_HINT": "f32"}  # else in bfloat16, where the processor multiplies that
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", exact)
    return np.asarray(compiled(PIXELS)[0])


@pytest.mark.parametrize(
    "scaling",
    [
        pytest.param([("Mul", 1 / 255)], id="a factor"),
        pytest.param([("Mul", 1 / 255), ("Add", 0.0)], id="a factor and a shift by nothing, as Keras exports"),
        pytest.param([("Mul", 1 / 127.5), ("Mul", 0.5)], id="two factors"),
        pytest.param([("Mul", 0.0)], id="nothing at all is left of the pixels"),
    ],
)
def test_a_factor_goes_into_the_weights_and_the_answers_stay(scaling: list[Step]) -> None:
    model = network(*scaling)
    before = answers(model)
    assert fold_scale(model)
    onnx.checker.check_model(model)
    assert [step.op_type for step in model.graph.node][:3] == ["Cast", "Transpose", "Conv"]
    assert not [tensor.name for tensor in model.graph.initializer if tensor.name.startswith("constant")]
    np.testing.assert_allclose(answers(model), before, atol=1e-6)


@pytest.mark.parametrize(
    ("scaling", "used_twice"),
    [
        pytest.param([], False, id="pixels as they are"),
        pytest.param([("Mul", 1 / 127.5), ("Add", -1.0)], False, id="a shift, which the zeros around an image lack"),
        pytest.param([("Mul", [0.1, 0.2, 0.3])], False, id="a factor for each channel"),
        pytest.param([("Mul", 1 / 255), ("Pow", 2.0)], False, id="what is no factor"),
        pytest.param([("Mul", 1 / 255)], True, id="pixels that something else reads too"),
    ],
)
def test_anything_else_stays_as_it_is(scaling: list[Step], used_twice: bool) -> None:
    model = network(*scaling, used_twice=used_twice)
    before = model.SerializeToString()
    assert not fold_scale(model)
    assert model.SerializeToString() == before


def test_folding_again_changes_nothing() -> None:
    model = network(("Mul", 1 / 255))
    assert fold_scale(model)
    assert not fold_scale(model)
