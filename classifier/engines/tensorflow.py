"""TensorFlow: `model.keras`, on a GPU where there is one, and the reference that other engines are held to.

The GPU paths (memory growth, float16) follow TensorFlow's documentation; they have not been run by this project.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from classifier import store
from classifier.card import Card, Precision
from classifier.engines import keras_archive
from classifier.engines.agreement import close_enough
from classifier.engines.engine import Answers, EngineOptions, Probabilities, check_pixels, read_file
from classifier.errors import EngineUnavailable, OutOfMemory, UnusableNetwork

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
try:
    import keras
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
except ImportError as missing:
    raise EngineUnavailable(
        "the TensorFlow engine needs TensorFlow: install sightline[train], or sightline[gpu] for a GPU"
    ) from missing

_POLICIES = {"bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


class TensorFlowEngine:
    """The network as one `tf.function` with an input signature, not `model.predict`.

    docs/tuning.md#tensorflows-calls
    """

    name: Literal["tensorflow"] = "tensorflow"
    infers_here = False
    one_stream = False

    def __init__(
        self, card: Card, folder: Path, options: EngineOptions, read: Callable[[Path], bytes] = read_file
    ) -> None:
        gpus = tf.config.list_physical_devices("GPU")
        with contextlib.suppress(RuntimeError):  # too late: whoever used the GPU before us has decided
            for gpu in gpus:
                tf.config.experimental.set_memory_growth(gpu, True)
        self.device = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU") if gpus else "CPU"
        self.precision = _precision(card, options, on_gpu=bool(gpus))
        network = _lowered(_load(folder / store.KERAS, read(folder / store.KERAS), card), self.precision)
        traced = tf.function(
            lambda pixels: network(pixels, training=False),
            input_signature=[tf.TensorSpec((None, *card.input.shape), tf.uint8)],
            jit_compile=False,  # docs/tuning.md#tensorflows-calls
        ).get_concrete_function()
        self._run = convert_variables_to_constants_v2(traced)  # frozen: nothing looks a weight up while it runs
        self._shape = card.input.shape
        self.streams = options.streams or (2 if gpus else 1)
        self.max_in_flight = self.streams + 1
        self._threads = ThreadPoolExecutor(self.streams, thread_name_prefix="tensorflow")
        try:
            for size in options.warm_batch_sizes:
                self.answer(np.zeros((size, *self._shape), np.uint8))
        except OutOfMemory:
            self.close()
            raise
        except tf.errors.OpError as error:
            self.close()
            raise UnusableNetwork(f"{folder / store.KERAS}: TensorFlow cannot run it: {error.message[:300]}") from error

    def submit(self, pixels_u8: npt.NDArray[np.uint8], *, alone: bool = False) -> Future[Answers]:
        check_pixels(pixels_u8, self._shape)
        try:
            return self._threads.submit(self._answer, pixels_u8)
        except RuntimeError as error:
            raise EngineUnavailable("the engine was closed; open the model again") from error

    def answer(self, pixels_u8: npt.NDArray[np.uint8]) -> Answers:
        return self.submit(pixels_u8).result()

    def infer(self, pixels_u8: npt.NDArray[np.uint8]) -> Probabilities:
        return self.answer(pixels_u8).probabilities

    def release_memory(self) -> None:
        """TensorFlow keeps what it has taken, and gives nothing back."""

    def close(self) -> None:
        self._threads.shutdown(wait=True)

    def _answer(self, pixels_u8: npt.NDArray[np.uint8]) -> Answers:
        try:
            probabilities, *scores = (output.numpy() for output in self._run(tf.constant(pixels_u8)))
        except tf.errors.ResourceExhaustedError as error:
            raise OutOfMemory(f"TensorFlow found no memory for a batch of {len(pixels_u8)}") from error
        return Answers(probabilities, scores[0].reshape(-1) if scores else None)


def _precision(card: Card, options: EngineOptions, *, on_gpu: bool) -> Precision:
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


def load_network(path: Path, body: bytes) -> Any:
    """The Keras network in `body`, by way of a copy that nobody else may change: Keras opens paths only.

    `path` is its name in errors. Raises UnusableNetwork.
    """
    keras_archive.check(path, body)
    try:
        with tempfile.TemporaryDirectory(prefix="sightline-") as private:
            copy = Path(private, store.KERAS)
            copy.write_bytes(body)
            return keras.saving.load_model(copy, compile=False, safe_mode=True)
    except Exception as error:  # a zip of JSON and HDF5: each has its own kinds
        raise UnusableNetwork(f"{path}: Keras cannot load it: {str(error).strip()[:300]}") from error


def _load(path: Path, body: bytes, card: Card) -> Any:
    network = load_network(path, body)
    found = tuple(_said(port) for port in (*network.inputs, *network.outputs))
    scored = (f"{[None, 1]} float32",) if card.familiarity else ()
    expected = (f"{[None, *card.input.shape]} uint8", f"{[None, len(card.labels)]} float32", *scored)
    if found != expected:
        raise UnusableNetwork(
            f"{path}: the card promises {' -> '.join(expected)}, the network has {' -> '.join(found)}"
        )
    return network


def _said(port: Any) -> str:
    return f"{list(port.shape)} {port.dtype}"


def _lowered(network: Any, precision: Precision) -> Any:
    """The same weights with convolutions and inner dense layers in 16 bits.

    Scaling at the front and everything from the last dense layer on stay in float32: a probability in bfloat16 keeps
    three digits only.
    """
    if precision == "float32":
        return network
    added = "familiarity"  # a distance in 16 bits would be of another picture
    dense = [x.name for x in network.layers if isinstance(x, keras.layers.Dense) and not x.name.startswith(added)]
    low = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.BatchNormalization, keras.layers.Dense)

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        if isinstance(layer, low) and layer.name not in dense[-1:] and not layer.name.startswith(added):
            config["dtype"] = _POLICIES[precision]
        return layer.__class__.from_config(config)

    lowered = keras.models.clone_model(network, clone_function=clone)
    lowered.set_weights(network.get_weights())
    return lowered
