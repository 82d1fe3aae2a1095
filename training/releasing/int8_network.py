"""An ONNX network in 8-bit integers, made by NNCF: post-training quantisation, with no training."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

import classifier.engines.openvino  # noqa: F401  (NNCF would report to its makers else, as OpenVINO would)

MATRICES = ("MatMul", "Gemm")
POOLS = ("GlobalAveragePool", "ReduceMean")
LARGE = 10_000  # numbers of a matrix that is kept in 8 bits, wherever it is computed


def int8_network(
    network: onnx.ModelProto, pixels_u8: npt.NDArray[np.uint8], float_convolutions: int
) -> onnx.ModelProto:
    """The network with weights and activations in 8-bit integers, and their scales.

    The scales are fitted on `pixels_u8`, uint8 [n, height, width, channels]. So many of the first convolutions, means
    over a whole picture, the logits, and what a second output alone needs are computed as before: a distance in 8 bits
    would be of another picture. Raises ModuleNotFoundError without NNCF.
    """
    import nncf

    kept = kept_in_float(network.graph, float_convolutions)
    name = network.graph.input[0].name
    with _quiet():
        made = nncf.quantize(
            network,
            nncf.Dataset(pixels_u8, lambda image: {name: image[None]}),
            subset_size=len(pixels_u8),
            preset=nncf.QuantizationPreset.PERFORMANCE,  # without zero points
            ignored_scope=nncf.IgnoredScope(names=sorted(kept), validate=False),
        )
    shrink_matrices(made)
    return made


def kept_in_float(graph: Any, convolutions: int) -> set[str]:
    """The names of the nodes of an ONNX graph that are computed in floating point, of its first convolutions so many.

    docs/tuning.md#int8
    """
    first, *others = (needed_by(graph, output.name) for output in graph.output)
    sums = [node.name for node in graph.node if node.op_type == "Conv"]
    last_matrix = [node.name for node in graph.node if node.name in first and node.op_type in MATRICES][-1:]
    pools = [node.name for node in graph.node if node.op_type in POOLS]
    return set().union(sums[:convolutions], pools, last_matrix, *(other - first for other in others))


def needed_by(graph: Any, output: str) -> set[str]:
    """The names of the nodes that an output of an ONNX graph depends on."""
    makers = {value: node for node in graph.node for value in node.output}
    waiting, found = [output], set()
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and node.name not in found:
            found.add(node.name)
            waiting += node.input
    return found


def shrink_matrices(network: onnx.ModelProto) -> None:
    """Keep large matrices that are still in float32 as 8-bit integers with a scale for each column."""
    graph = network.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    large = [node.input[1] for node in graph.node if node.op_type == "MatMul" and node.input[1] in tensors]
    for name in dict.fromkeys(large):
        matrix = numpy_helper.to_array(tensors[name])
        if matrix.dtype != np.float32 or matrix.ndim != 2 or matrix.size < LARGE:
            continue
        scale = np.maximum(np.abs(matrix).max(axis=0), np.finfo(np.float32).tiny) / 127
        tensors[name].CopyFrom(numpy_helper.from_array(np.rint(matrix / scale).astype(np.int8), f"{name}/int8"))
        graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), f"{name}/scale"))
        step = helper.make_node(
            "DequantizeLinear", [f"{name}/int8", f"{name}/scale"], [name], f"{name}/dequantize", axis=1
        )
        graph.node.insert(0, step)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without NNCF's bars, which it draws on stdout, and its lines."""
    logging.getLogger("nncf").setLevel(logging.ERROR)
    with redirect_stdout(StringIO()):
        yield
