"""What every peer serves: one exported network on OpenVINO, the project's decoding, the project's answer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import orjson

from classifier import images, store
from classifier.card import Card
from classifier.engines import Probabilities
from classifier.images import Pixels
from classifier.ranking import rank

MAX_BATCH = 32
MAX_WAIT_MS = 5  # as commonly recommended for mosec and LitServe; BentoML works its own out

_HINTS = {"float32": "f32", "bfloat16": "bf16"}


@dataclass(frozen=True)
class Conditions:
    """What the runner asks of a peer, by the environment: that reaches worker processes however they are started."""

    model: str
    precision: str
    workers: int
    port: int
    models: Path

    @classmethod
    def from_environment(cls) -> Conditions:
        model, precision, workers, port, models = (
            os.environ[f"PEER_{name}"] for name in ("MODEL", "PRECISION", "WORKERS", "PORT", "MODELS")
        )
        return cls(model, precision, int(workers), int(port), Path(models))

    def version(self) -> tuple[Card, Path]:
        """The newest version's card and folder."""
        models = store.ModelStore(self.models)
        return models.card(self.model), models.folder(self.model)


class Network:
    """One network, ready to run one batch at a time.

    A peer's worker never has two batches in flight, so each batch gets all cores, divided by the workers (OpenVINO's
    latency hint); of several streams all but one would wait for ever.
    """

    def __init__(self, conditions: Conditions) -> None:
        self.card, folder = conditions.version()
        hints = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _HINTS[conditions.precision],
            "INFERENCE_NUM_THREADS": max(1, (os.cpu_count() or 1) // conditions.workers),
        }
        self._request = ov.Core().compile_model(folder / store.ONNX, "CPU", hints).create_infer_request()
        for size in (1, MAX_BATCH):
            self.probabilities([np.zeros(self.card.input.shape, np.uint8)] * size)

    def decode(self, body: bytes) -> Pixels:
        return images.decode(body, self.card.input)

    def probabilities(self, pixels: Sequence[Pixels]) -> Probabilities:
        """Run one batch: float32 [images, classes]."""
        self._request.infer({0: np.stack(pixels)}, share_inputs=True)
        answer: Probabilities = self._request.get_output_tensor(0).data.copy()
        return answer

    def answer(self, row: Probabilities) -> bytes:
        return as_json(self.card, row)

    def prediction(self, row: Probabilities) -> dict[str, Any]:
        return prediction(self.card, row)


def prediction(card: Card, row: Probabilities) -> dict[str, Any]:
    """What our server answers."""
    predictions = [prediction._asdict() for prediction in rank(row, card.labels)]
    return {"model": card.name, "version": card.version, "predictions": predictions}


def as_json(card: Card, row: Probabilities) -> bytes:
    return orjson.dumps(prediction(card, row))
