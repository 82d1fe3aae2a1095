"""Other ways to serve the same network, to be compared with ours: `python -m load_tests.peers`, or `make peers`."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import NamedTuple

OURS = "sightline"
JPEG = "image/jpeg"


class Wire(NamedTuple):
    """How an image travels: its body, and what that is."""

    body: Callable[[bytes], bytes]
    media_type: str


RAW = Wire(lambda image: image, JPEG)
BASE64 = Wire(lambda image: json.dumps({"images": [base64.b64encode(image).decode()]}).encode(), "application/json")


class Peer(NamedTuple):
    """One server. `command` follows `python`, with `{port}` in it; `path` may have `{model}`."""

    command: tuple[str, ...]
    about: str
    path: str = "/predict"
    wire: Wire = RAW
    workers: tuple[int, ...] = (1, 2)
    precision: str | None = None  # where it cannot be chosen


_AT = ("--host", "127.0.0.1", "--port", "{port}")

PEERS = {
    OURS: Peer(
        ("-m", "bentoml", "serve", "service.app:Sightline", *_AT),
        "as shipped, all three models in one process",
        path="/v1/models/{model}/predict",
        workers=(1,),
    ),
    "bentoml": Peer(
        ("-m", "bentoml", "serve", "load_tests.peers.bentoml_api:Classify", *_AT),
        "BentoML's batching API: batches of up to 32; access log, tracing and metrics off",
        wire=BASE64,
    ),
    "litserve": Peer(
        ("-m", "load_tests.peers.litserve_api"),
        "LitServe: batches of up to 32, wait 5 ms, fast queue, as many API servers as workers; access log off",
    ),
    "mosec": Peer(("-m", "load_tests.peers.mosec_worker"), "mosec: batches of up to 32, wait 5 ms"),
    "fastapi-keras": Peer(
        ("-m", "load_tests.peers.fastapi_keras"),
        "FastAPI and Keras' `model.predict`, one image at a time, float32",
        workers=(1,),
        precision="float32",
    ),
}
