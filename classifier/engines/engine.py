"""What every engine is, and what the engines share: options, the protocol, and the check of a batch."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from classifier.card import Precision
from classifier.errors import FilesDiffer

EngineName = Literal["openvino", "tensorflow", "jax"]
Probabilities = npt.NDArray[np.float32]
Familiarity = npt.NDArray[np.float32]


class Answers(NamedTuple):
    """What a network says of a batch of n images.

    `probabilities` is float32 [n, classes], each row summing to 1. `familiarity` is float32 [n], 0..1: the share of
    genuine images that looked no more familiar than this one. It is None where the card has no `familiarity`.
    """

    probabilities: Probabilities
    familiarity: Familiarity | None = None


@dataclass(frozen=True)
class EngineOptions:
    """How a network is to be run.

    `streams` is how many batches run at once when there are many, 0 leaves it to the engine. With `one_stream` batches
    run one after another instead, on one processor, and the next one waits in the engine; OpenVINO does this.
    `warm_batch_sizes` run once before the engine is handed out, so that no caller pays for the first batch.
    """

    engine: Literal["auto", "openvino", "tensorflow", "jax"] = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16", "int8"] = "auto"
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
    def name(self) -> EngineName: ...

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
        """Whether `answer` runs the network in the thread that asks.

        For a small batch that takes less time than to hand it on and to hear back.
        """

    def submit(self, pixels_u8: npt.NDArray[np.uint8], *, alone: bool = False) -> Future[Answers]:
        """Start one batch, uint8 [n, height, width, channels]; the future gives its answers.

        `alone` says that no other batch is there to run meanwhile. So this one may have all processors, if it is of one
        image. `pixels_u8` must not change until the future is done. Returns at once while fewer than `max_in_flight`
        batches are in flight, otherwise it may wait for an infer request. A started batch cannot be cancelled.
        Callbacks of the future run on the engine's thread: they must be short and must not call the engine. Raises
        ValueError for another dtype or shape, EngineUnavailable once the engine is closed. The future fails with
        OutOfMemory where fewer images at once may succeed.
        """

    def answer(self, pixels_u8: npt.NDArray[np.uint8]) -> Answers:
        """Run one batch alone and wait for it; raises as `submit` does, and what its future would fail with."""

    def infer(self, pixels_u8: npt.NDArray[np.uint8]) -> Probabilities:
        """The probabilities of `answer`, float32 [n, classes]."""

    def release_memory(self) -> None:
        """Give back what batches that ran have left for the next ones, which take it anew. Only while none runs."""

    def close(self) -> None:
        """Let running batches finish and give the memory back. Closing again does nothing."""


def read_file(path: Path) -> bytes:
    """The bytes of a network that no card vouches for yet. Raises BrokenModel."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FilesDiffer(f"{path}: cannot be read ({error.strerror})") from error


def check_pixels(pixels_u8: npt.NDArray[np.uint8], shape: tuple[int, int, int]) -> None:
    """Raise ValueError for anything but a batch, uint8 [1 or more, *shape]: that is a mistake of the program."""
    if pixels_u8.dtype != np.uint8 or pixels_u8.shape[1:] != shape or not len(pixels_u8):
        expected = ", ".join(map(str, shape))
        raise ValueError(f"expected uint8 [1 or more, {expected}], got {pixels_u8.dtype} {list(pixels_u8.shape)}")
