"""JAX: `model.keras` through XLA, on a GPU where there is one: docs/performance.md#on-a-gpu."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from classifier import store
from classifier.card import Card, Precision
from classifier.engines.agreement import close_enough
from classifier.engines.batch_sizes import padded
from classifier.engines.engine import EngineOptions, read_file
from classifier.engines.keras_engine import KerasEngine, keras_on, network_of, not_installed
from classifier.errors import EngineUnavailable, OutOfMemory

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else JAX takes three quarters of a GPU's memory
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA reads TensorFlow's
try:
    keras = keras_on("jax")
    import jax
except ImportError as missing:
    raise not_installed("jax") from missing

_NO_MEMORY = re.compile("RESOURCE_EXHAUSTED|out of memory", re.IGNORECASE)
_BFLOAT16_FROM = 8.0  # NVIDIA's compute capability of the first GPUs that multiply bfloat16


class JaxEngine(KerasEngine):
    """A program for each power of two, compiled once; other batches are padded. All programs share the weights.

    A thread starts a batch and waits for its answer, while another thread copies the next one to the device and starts
    it. The runtime copies by way of pinned memory of its own on a GPU.
    """

    name: Literal["jax"] = "jax"

    def __init__(
        self, card: Card, folder: Path, options: EngineOptions, read: Callable[[Path], bytes] = read_file
    ) -> None:
        device = jax.devices()[0]
        self.device = "CPU" if device.platform == "cpu" else device.device_kind
        self.precision = _precision(card, options, device)
        path = folder / store.KERAS
        self._network = network_of(card, path, read(path), self.precision)
        variables = (self._network.trainable_variables, self._network.non_trainable_variables)
        self._weights = jax.device_put([[variable.value for variable in each] for each in variables], device)
        self._programs: dict[int, Any] = {}
        self._compiling = threading.Lock()
        super().__init__(card.input.shape, options.streams or (1 if self.device == "CPU" else 2))
        self._warm(options.warm_batch_sizes, path)

    def _run(self, pixels_u8: npt.NDArray[np.uint8]) -> Sequence[npt.NDArray[np.float32]]:
        images = len(pixels_u8)
        size = 1 << (images - 1).bit_length()
        try:
            outputs = self._program(size)(self._weights, padded(pixels_u8, size))
            return [np.array(output[:images]) for output in jax.device_get(outputs)]
        except (jax.errors.JaxRuntimeError, MemoryError) as error:
            if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
                raise OutOfMemory(f"JAX found no memory for a batch of {images}") from error
            raise

    def _program(self, size: int) -> Any:
        """The network compiled for batches of this size; whoever asks for a new size waits for that."""
        with self._compiling:
            if size not in self._programs:
                pixels = jax.ShapeDtypeStruct((size, *self._shape), np.uint8)
                # A GPU may multiply float32 with ten bits of each factor, unless it is asked for all of them.
                with jax.default_matmul_precision("highest" if self.precision == "float32" else "default"):
                    self._programs[size] = jax.jit(self._forward).lower(self._weights, pixels).compile()
            return self._programs[size]

    def _forward(self, weights: Any, pixels: Any) -> list[Any]:
        outputs, _ = self._network.stateless_call(*weights, pixels, training=False)
        return list(keras.tree.flatten(outputs))


def _precision(card: Card, options: EngineOptions, device: Any) -> Precision:
    if options.precision == "int8":
        raise EngineUnavailable("int8 is for the OpenVINO engine; JAX runs the same version in float32 or auto")
    if options.precision != "auto":
        return options.precision
    is_native = float(getattr(device, "compute_capability", 0)) >= _BFLOAT16_FROM
    return "bfloat16" if is_native and close_enough(card.check_of("jax", "bfloat16")) else "float32"
