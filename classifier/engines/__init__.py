"""Engines run a network: uint8 [n, height, width, channels] in, float32 [n, classes] out.

OpenVINO is the default on CPUs, TensorFlow where a GPU is visible. Each library is imported only when its engine is
made, so a CPU server never pays for TensorFlow (seconds to import and about a gigabyte of memory).
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from classifier.card import Card, Precision
from classifier.errors import FilesDiffer

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EngineOptions:
    """How a network is to be run.

    `streams` is how many batches run at once when there are many, 0 leaves it to the engine. With `one_stream` batches
    run one after another instead, on one processor, and the next one waits in the engine; OpenVINO does this.
    `warm_batch_sizes` run once before the engine is handed out, so that no caller pays for the first batch.
    """

    engine: Literal["auto", "openvino", "tensorflow"] = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    streams: int = 0
    one_stream: bool = False
    warm_batch_sizes: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        if self.streams < 0 or min(self.warm_batch_sizes, default=1) < 1:
            raise ValueError(
                f"streams={self.streams} must be 0 or more, warm_batch_sizes={self.warm_batch_sizes} 1 or more"
            )


class Engine(Protocol):
    """A network ready to run. Safe to call from several threads."""

    @property
    def name(self) -> Literal["openvino", "tensorflow"]: ...

    @property
    def precision(self) -> Precision: ...

    @property
    def device(self) -> str: ...

    @property
    def streams(self) -> int: ...

    @property
    def max_in_flight(self) -> int:
        """The number of its infer requests. One more than `streams`, so that no stream waits for its next batch."""

    @property
    def one_stream(self) -> bool:
        """Whether batches run one after another, on one processor, whatever there is to do."""

    @property
    def infers_here(self) -> bool:
        """Whether `infer` runs the network in the thread that asks, which for a small batch takes less time than to
        hand it on and to hear back.
        """

    def submit(self, pixels_u8: npt.NDArray[np.uint8], *, alone: bool = False) -> Future[Probabilities]:
        """Start one batch, uint8 [n, height, width, channels]; the future gives float32 [n, classes].

        `alone` says that no other batch is there to run meanwhile, so that this one, if it is of one image, may have
        all processors.
        `pixels_u8` must not change until the future is done. Returns at once while fewer than `max_in_flight`
        batches are in flight, otherwise it may wait for an infer request. A started batch cannot be cancelled.
        Callbacks of the future run on the engine's thread: they must be short and must not call the engine. Raises
        ValueError for another dtype or shape, EngineUnavailable once the engine is closed. The future fails with
        OutOfMemory where fewer images at once may succeed.
        """

    def infer(self, pixels_u8: npt.NDArray[np.uint8]) -> Probabilities:
        """Run one batch alone and wait for it; raises as `submit` does, and what its future would fail with."""

    def close(self) -> None:
        """Let running batches finish and give the memory back. Closing again does nothing."""


def read_file(path: Path) -> bytes:
    """The bytes of a network that no card vouches for yet. Raises BrokenModel."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FilesDiffer(f"{path}: cannot be read ({error.strerror})") from error


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
    name = options.engine if options.engine != "auto" else default_engine()
    if name == "openvino":
        from classifier.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(card, folder, options, read)
    from classifier.engines.tensorflow import TensorFlowEngine

    return TensorFlowEngine(card, folder, options, read)


def check_pixels(pixels_u8: npt.NDArray[np.uint8], shape: tuple[int, int, int]) -> None:
    """Raise ValueError for anything but a batch, uint8 [1 or more, *shape]: that is a mistake of the program."""
    if pixels_u8.dtype != np.uint8 or pixels_u8.shape[1:] != shape or not len(pixels_u8):
        expected = ", ".join(map(str, shape))
        raise ValueError(f"expected uint8 [1 or more, {expected}], got {pixels_u8.dtype} {list(pixels_u8.shape)}")


def bucket_size(images: int) -> int:
    """The largest power of two that is not above `images`; 0 of none.

    An engine takes its time to prepare itself for each size of batch it has not run yet, and keeps what it has
    prepared. So batches come in the sizes that are warm. docs/tuning.md#bucket-sizes
    """
    return 1 << images.bit_length() - 1 if images else 0


def padded(pixels_u8: npt.NDArray[np.uint8], most: int) -> npt.NDArray[np.uint8]:
    """The batch with black pictures after it, up to the next power of two or `most` images, whichever is less."""
    images = len(pixels_u8)
    missing = min(1 << (images - 1).bit_length(), max(images, most)) - images
    return np.concatenate([pixels_u8, np.zeros((missing, *pixels_u8.shape[1:]), np.uint8)]) if missing else pixels_u8


def batch_sizes(most: int) -> tuple[int, ...]:
    """The sizes that batches of up to `most` images come in: buckets, and padded ones too."""
    return tuple(sorted({min(1 << power, most) for power in range(most.bit_length() + 1)}))


def default_engine() -> Literal["openvino", "tensorflow"]:
    """TensorFlow where it is installed and an NVIDIA GPU is visible, OpenVINO otherwise.

    The GPU is looked for without importing TensorFlow: by the driver's device file and CUDA_VISIBLE_DEVICES.
    """
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1", "none", "void")
    has_gpu = Path("/dev/nvidiactl").exists() and not hidden
    return "tensorflow" if has_gpu and importlib.util.find_spec("tensorflow") else "openvino"
