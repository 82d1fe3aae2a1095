"""Moves the factor that pixels are multiplied with into the weights of the first convolution of an ONNX network."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

_LAYOUT = ("Cast", "Transpose", "Reshape")  # these move numbers about and leave them as they are


def fold_scale(network: onnx.ModelProto) -> bool:
    """Multiply the first convolution's weights in place of the pixels; says whether anything was changed.

    The pixels then reach it as the whole numbers 0..255, which bfloat16 holds exactly. 1/255 of them would be rounded
    to eight bits. A network that also shifts its pixels stays as it is: the zeros that pad an image would have to be
    shifted too. docs/tuning.md#scale-in-the-first-convolution
    """
    constants = {tensor.name: tensor for tensor in network.graph.initializer}
    steps = _up_to_first_convolution(network.graph, constants)
    if not steps or not (scaling := [step for step in steps[:-1] if step.op_type in ("Mul", "Add")]):
        return False
    factors = [factor for step in scaling if (factor := _factor(step, constants)) is not None]
    _scale_weights(network.graph, steps[-1], constants, math.prod(factors))
    for step in scaling:
        _leave_out(network.graph, step, constants)
    _drop_unused(network.graph)
    return True


def name_outputs(network: onnx.ModelProto, names: Sequence[str]) -> None:
    """Call the outputs so, in their order; callers of other servers know a tensor by its name."""
    for output, name in zip(network.graph.output, names, strict=False):
        for node in network.graph.node:
            node.output[:] = [name if each == output.name else each for each in node.output]
            node.input[:] = [name if each == output.name else each for each in node.input]
        output.name = name


def _up_to_first_convolution(graph: Any, constants: dict[str, Any]) -> list[Any]:
    """The steps from the input to the first convolution; none where one of them does more than scale or lay out."""
    steps, value = [], graph.input[0].name
    while len(followers := [node for node in graph.node if value in node.input]) == 1:
        steps.append(followers[0])
        if steps[-1].op_type == "Conv":
            foldable = steps[-1].input[0] == value and steps[-1].input[1] in constants
            return steps if foldable else []
        if steps[-1].op_type not in _LAYOUT and _factor(steps[-1], constants) is None:
            return []
        value = steps[-1].output[0]
    return []


def _factor(step: Any, constants: dict[str, Any]) -> float | None:
    """What a step multiplies the pixels with; None where it does anything else to them."""
    if step.op_type not in ("Mul", "Add"):
        return None
    known = [numpy_helper.to_array(constants[name]) for name in step.input if name in constants]
    if len(known) != 1 or known[0].size != 1:
        return None
    if step.op_type == "Add":
        return 1.0 if known[0].item() == 0 else None
    return float(known[0].item())


def _scale_weights(graph: Any, convolution: Any, constants: dict[str, Any], factor: float) -> None:
    """Give a convolution weights of its own, `factor` times as large."""
    weights = numpy_helper.to_array(constants[convolution.input[1]]).astype(np.float64) * factor
    name = f"{convolution.input[1]}/scaled"
    graph.initializer.append(numpy_helper.from_array(weights.astype(np.float32), name))
    convolution.input[1] = name


def _leave_out(graph: Any, step: Any, constants: dict[str, Any]) -> None:
    """Have what follows a step read what the step reads."""
    (source,) = (name for name in step.input if name not in constants)
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == step.output[0]:
                node.input[index] = source
    graph.node.remove(step)


def _drop_unused(graph: Any) -> None:
    """Remove the constants that nothing reads any more."""
    used = Counter(name for node in graph.node for name in node.input)
    for tensor in [tensor for tensor in graph.initializer if not used[tensor.name]]:
        graph.initializer.remove(tensor)
