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
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from classifier import loaded_model
from classifier.card import Card, Precision
from classifier.commands import cli
from classifier.engines.keras_engine import KerasEngine

MAX_BATCH = 64


class FakeEngine(KerasEngine):
    """A device that runs one batch after another, `images_per_s` whatever they show."""

    name: Literal["jax"] = "jax"
    precision: Precision = "float32"
    device = "a sleeping thread"

    def __init__(self, card: Card, images_per_s: float) -> None:
        self._image_s = 1 / images_per_s
        scores = [] if card.sample.familiarity is None else [[card.sample.familiarity]]
        self._outputs = [np.asarray(row, np.float32) for row in (card.sample.probabilities, *scores)]
        super().__init__(card.input.shape, 1)

    def _run(self, pixels_u8: npt.NDArray[np.uint8]) -> Sequence[npt.NDArray[np.float32]]:
        images = len(pixels_u8)
        time.sleep(images * self._image_s)
        return [np.tile(row, (images, 1)) for row in self._outputs]


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
