"""Our server with networks that only sleep, as a fast GPU would look from here. For profiles of HTTP and decoding.

Run:    python -m load_tests.gpu.fake_server --port 3000 [--images-per-s 20000]

Every picture gets the answer that the card has for its sample.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from classifier import loaded_model
from classifier.card import Card, Precision
from classifier.commands import cli
from classifier.engines import Answers, Probabilities

MAX_BATCH = 64


class FakeEngine:
    """A device that runs one batch after another, `images_per_s` whatever they show."""

    name: Literal["jax"] = "jax"
    precision: Precision = "float32"
    device = "a sleeping thread"
    streams = 1
    max_in_flight = 2
    one_stream = False
    infers_here = False

    def __init__(self, card: Card, images_per_s: float) -> None:
        self._image_s = 1 / images_per_s
        self._row = np.asarray(card.sample.probabilities, np.float32)
        self._familiarity = None if card.sample.familiarity is None else np.float32(card.sample.familiarity)
        self._device = ThreadPoolExecutor(1, thread_name_prefix="device")

    def submit(self, pixels_u8: npt.NDArray[np.uint8], *, alone: bool = False) -> Future[Answers]:
        return self._device.submit(self._run, len(pixels_u8))

    def answer(self, pixels_u8: npt.NDArray[np.uint8]) -> Answers:
        return self.submit(pixels_u8).result()

    def infer(self, pixels_u8: npt.NDArray[np.uint8]) -> Probabilities:
        return self.answer(pixels_u8).probabilities

    def release_memory(self) -> None:
        """There is none."""

    def close(self) -> None:
        self._device.shutdown()

    def _run(self, images: int) -> Answers:
        time.sleep(images * self._image_s)
        rows = np.tile(self._row, (images, 1))
        return Answers(rows, None if self._familiarity is None else np.full(images, self._familiarity, np.float32))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=3000)
    parser.add_argument("--images-per-s", type=float, default=20_000.0)
    options = parser.parse_args(arguments)

    def opened(card: Card, folder: Path, *_: Any) -> FakeEngine:
        return FakeEngine(card, options.images_per_s)

    loaded_model.open_engine = opened  # type: ignore[assignment, attr-defined]  # before the service is imported
    os.environ |= {"SIGHTLINE_ENGINE": "jax", "SIGHTLINE_MAX_BATCH": str(MAX_BATCH)}
    return cli.main(["serve", "--no-supervisor", "--port", str(options.port)])


if __name__ == "__main__":
    sys.exit(main())
