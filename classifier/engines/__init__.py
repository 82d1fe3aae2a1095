"""Engines run a network: uint8 [n, height, width, channels] in, `Answers` out: float32 [n, classes], and float32 [n].

OpenVINO is the default on CPUs, TensorFlow or JAX where a GPU is visible. Each library is imported only when its engine
is made. So a CPU server never pays for them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from classifier.card import Card
from classifier.engines.batch_sizes import batch_sizes, bucket_size, padded
from classifier.engines.engine import (
    Answers,
    Engine,
    EngineName,
    EngineOptions,
    Familiarity,
    Probabilities,
    check_pixels,
    read_file,
)
from classifier.engines.gpu import fastest_library, has_gpu

__all__ = [
    "Answers",
    "Engine",
    "EngineName",
    "EngineOptions",
    "Familiarity",
    "Probabilities",
    "batch_sizes",
    "bucket_size",
    "check_pixels",
    "chosen_engine",
    "default_engine",
    "open_engine",
    "padded",
    "read_file",
]


def open_engine(
    card: Card,
    folder: Path,
    options: EngineOptions = EngineOptions(),
    read: Callable[[Path], bytes] = read_file,
) -> Engine:
    """Load a version's network into the engine asked for and warm it.

    `read` is asked once for the network's file, and no other file is opened: `ModelStore.read` holds it to the card.
    Raises BrokenModel where shapes or label counts differ from the card, EngineUnavailable where the library,
    precision or device is missing.
    """
    chosen = chosen_engine(options.engine)
    if chosen == "openvino":
        from classifier.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(card, folder, options, read)
    if chosen == "jax":
        from classifier.engines.jax import JaxEngine

        return JaxEngine(card, folder, options, read)
    from classifier.engines.tensorflow import TensorFlowEngine

    return TensorFlowEngine(card, folder, options, read)


def chosen_engine(name: Literal["auto", "openvino", "tensorflow", "jax"]) -> EngineName:
    """The engine that a setting names; of "auto" the default one."""
    return default_engine() if name == "auto" else name


def default_engine() -> EngineName:
    """TensorFlow or JAX where an NVIDIA GPU is visible and one is installed, of both the faster; OpenVINO otherwise."""
    return (fastest_library() if has_gpu() else None) or "openvino"
