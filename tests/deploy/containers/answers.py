"""What a server of the shipped models says of twenty pictures."""

from __future__ import annotations

import httpx

from tests.e2e.servers import ROOT
from tests.pictures import encoded, jpeg, noise

MODELS = ("cats-vs-dogs", "cifar-10", "asl")
PICTURES = [(ROOT / "docs" / "chelsea.jpg").read_bytes(), *(jpeg(noise(120, 160, seed=n)) for n in range(12))]
PICTURES += [encoded(noise(28, 28, seed=n)) for n in range(7)]


def answers(url: str) -> dict[str, list[object]]:
    """By model, the answer to each picture."""
    with httpx.Client(base_url=url, timeout=60) as client:
        return {
            model: [client.post(f"/v1/models/{model}/predict", content=picture).json() for picture in PICTURES]
            for model in MODELS
        }
