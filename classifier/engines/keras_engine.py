"""What the engines of `model.keras` share: Keras on their backend, the network and its precision, their threads."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from classifier import store
from classifier.card import Card, Precision
from classifier.engines import keras_archive
from classifier.engines.engine import Answers, Probabilities, check_pixels
from classifier.errors import EngineUnavailable, OutOfMemory, UnusableNetwork

Backend = Literal["tensorflow", "jax"]

_POLICIES = {"bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
_TITLES = {"tensorflow": "TensorFlow", "jax": "JAX"}
_EXTRAS = {"tensorflow": ("train", "gpu"), "jax": ("jax", "gpu-jax")}


class KerasEngine:
    """Runs each batch in a thread of its own, as many at once as it has streams."""

    name: Backend
    precision: Precision
    device: str
    infers_here = False
    one_stream = False

    def __init__(self, shape: tuple[int, int, int], streams: int) -> None:
        self._shape = shape
        self.streams = streams
        self.max_in_flight = streams + 1
        self._threads = ThreadPoolExecutor(streams, thread_name_prefix=self.name)

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
        """These libraries keep what they have taken, and give nothing back."""

    def close(self) -> None:
        self._threads.shutdown(wait=True)

    def _answer(self, pixels_u8: npt.NDArray[np.uint8]) -> Answers:
        probabilities, *scores = self._run(pixels_u8)
        return Answers(probabilities, scores[0].reshape(-1) if scores else None)

    def _run(self, pixels_u8: npt.NDArray[np.uint8]) -> Sequence[npt.NDArray[np.float32]]:
        """The network's outputs, as arrays of their own. Raises OutOfMemory."""
        raise NotImplementedError

    def _warm(self, sizes: Sequence[int], path: Path) -> None:
        """Run a batch of each size. Raises OutOfMemory, or UnusableNetwork that names `path`; then it is closed."""
        try:
            for size in sizes:
                self.answer(np.zeros((size, *self._shape), np.uint8))
        except OutOfMemory:
            self.close()
            raise
        except Exception as error:  # each library has its own kinds
            self.close()
            said = str(getattr(error, "message", error)).strip()[:300]
            raise UnusableNetwork(f"{path}: {_TITLES[self.name]} cannot run it: {said}") from error


def keras_on(backend: Backend) -> Any:
    """Keras on this backend, of which a process has one. Raises EngineUnavailable where that is another one."""
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = backend  # Keras reads it when it is imported
    import keras

    if (other := keras.backend.backend()) != backend:
        raise EngineUnavailable(
            f"Keras runs on {other} in this process, and has one backend in each: run the {_TITLES[backend]} engine "
            f"in another process, or set KERAS_BACKEND={backend} before this one starts"
        )
    return keras


def not_installed(backend: Backend) -> EngineUnavailable:
    """The error of an engine whose library, or Keras, cannot be imported."""
    title, (on_cpu, on_gpu) = _TITLES[backend], _EXTRAS[backend]
    return EngineUnavailable(
        f"the {title} engine needs {title} and Keras: install sightline[{on_cpu}], or sightline[{on_gpu}] for a GPU"
    )


def load_network(path: Path, body: bytes) -> Any:
    """The Keras network in `body`, by way of a copy that nobody else may change: Keras opens paths only.

    `path` is its name in errors. Raises UnusableNetwork.
    """
    import keras

    keras_archive.check(path, body)
    try:
        body = keras_archive.started_from_zeros(body) if keras.backend.backend() == "jax" else body
        with tempfile.TemporaryDirectory(prefix="sightline-") as private:
            copy = Path(private, store.KERAS)
            copy.write_bytes(body)
            return keras.saving.load_model(copy, compile=False, safe_mode=True)
    except Exception as error:  # a zip of JSON and HDF5: each has its own kinds
        raise UnusableNetwork(f"{path}: Keras cannot load it: {str(error).strip()[:300]}") from error


def network_of(card: Card, path: Path, body: bytes, precision: Precision) -> Any:
    """The network of a version in this precision. Raises UnusableNetwork, also where it does not fit its card."""
    network = load_network(path, body)
    found = tuple(_said(port) for port in (*network.inputs, *network.outputs))
    scored = (f"{[None, 1]} float32",) if card.familiarity else ()
    expected = (f"{[None, *card.input.shape]} uint8", f"{[None, len(card.labels)]} float32", *scored)
    if found != expected:
        raise UnusableNetwork(
            f"{path}: the card promises {' -> '.join(expected)}, the network has {' -> '.join(found)}"
        )
    return _lowered(network, precision)


def _said(port: Any) -> str:
    return f"{list(port.shape)} {port.dtype}"


def _lowered(network: Any, precision: Precision) -> Any:
    """The same weights with convolutions and inner dense layers in 16 bits.

    Scaling at the front and everything from the last dense layer on stay in float32: a probability in bfloat16 keeps
    three digits only.
    """
    if precision == "float32":
        return network
    import keras

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
