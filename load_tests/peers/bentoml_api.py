"""The network behind BentoML's own batching API, without access log, tracing and metrics."""

from __future__ import annotations

import base64
from typing import Any

import bentoml

from load_tests.peers.network import MAX_BATCH, Conditions, Network

CONDITIONS = Conditions.from_environment()


@bentoml.service(
    workers=CONDITIONS.workers,
    traffic={"timeout": 60},
    tracing={"excluded_urls": ".*"},
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
)
class Classify:
    """A batch is a list of base64 texts: faster than a list of files, each of which BentoML writes to disk."""

    def __init__(self) -> None:
        self._network = Network(CONDITIONS)

    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=60_000)
    def predict(self, images: list[str]) -> list[dict[str, Any]]:
        pixels = [self._network.decode(base64.b64decode(image)) for image in images]
        return [self._network.prediction(row) for row in self._network.probabilities(pixels)]
