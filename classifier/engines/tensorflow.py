"""TensorFlow: `model.keras`, on a GPU where there is one, and the reference that other engines are held to.

The GPU paths (memory growth, float16) follow TensorFlow's documentation; they have not been run by this project.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from classifier import store
from classifier.card import Card, Precision
from classifier.engines.agreement import close_enough
from classifier.engines.engine import EngineOptions, read_file
from classifier.engines.keras_engine import KerasEngine, keras_on, network_of, not_installed
from classifier.errors import EngineUnavailable, OutOfMemory

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
try:
    keras_on("tensorflow")
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
except ImportError as missing:
    raise not_installed("tensorflow") from missing


class TensorFlowEngine(KerasEngine):
    """The network as one `tf.function` with an input signature, not `model.predict`.

    docs/tuning.md#tensorflows-calls
    """

    name: Literal["tensorflow"] = "tensorflow"

    def __init__(
        self, card: Card, folder: Path, options: EngineOptions, read: Callable[[Path], bytes] = read_file
    ) -> None:
        gpus = tf.config.list_physical_devices("GPU")
        with contextlib.suppress(RuntimeError):  # too late: whoever used the GPU before us has decided
            for gpu in gpus:
                tf.config.experimental.set_memory_growth(gpu, True)
        self.device = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU") if gpus else "CPU"
        self.precision = _precision(card, options, on_gpu=bool(gpus))
        path = folder / store.KERAS
        network = network_of(card, path, read(path), self.precision)
        traced = tf.function(
            lambda pixels: network(pixels, training=False),
            input_signature=[tf.TensorSpec((None, *card.input.shape), tf.uint8)],
            jit_compile=False,  # docs/tuning.md#tensorflows-calls
        ).get_concrete_function()
        self._frozen = convert_variables_to_constants_v2(traced)  # nothing looks a weight up while it runs
        super().__init__(card.input.shape, options.streams or (2 if gpus else 1))
        self._warm(options.warm_batch_sizes, path)

    def _run(self, pixels_u8: npt.NDArray[np.uint8]) -> Sequence[npt.NDArray[np.float32]]:
        try:
            return [output.numpy() for output in self._frozen(tf.constant(pixels_u8))]
        except tf.errors.ResourceExhaustedError as error:
            raise OutOfMemory(f"TensorFlow found no memory for a batch of {len(pixels_u8)}") from error


def _precision(card: Card, options: EngineOptions, *, on_gpu: bool) -> Precision:
    if options.precision == "int8":
        raise EngineUnavailable("int8 is for the OpenVINO engine; TensorFlow runs the same version in float32 or auto")
    if options.precision != "auto":
        return options.precision
    reduced: Precision = "float16" if on_gpu else "bfloat16"
    is_native = on_gpu or has_native_bfloat16()
    return reduced if is_native and close_enough(card.check_of("tensorflow", reduced)) else "float32"


def has_native_bfloat16() -> bool:
    """Whether Linux says that this processor multiplies bfloat16 (x86: AVX512-BF16 or AMX; Arm: the BF16 extension)."""
    with contextlib.suppress(OSError):
        return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(Path("/proc/cpuinfo").read_text().split())
    return False
