"""One image by every route of one server: the same probabilities."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from service.client import AsyncClient, Client
from tests.e2e.servers import Server
from tests.pictures import noise, png
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.e2e

FILE = png(noise(8, 8))  # as large as the network's input, so that files and pixels are the same picture
PIXELS = np.asarray(Image.open(io.BytesIO(FILE)))[None]
LABELS = ("red", "green", "blue")


def v1(server: Server, path: str = "predict", **body: Any) -> Any:
    return httpx.post(f"{server.url}/v1/models/{COLOUR}/{path}", **body).raise_for_status().json()


def v2(server: Server, datatype: str, shape: list[int], data: Any, raw: bytes | None = None) -> dict[str, float]:
    """A JSON tensor, or a raw one after the JSON."""
    tensor = {"name": "image", "datatype": datatype, "shape": shape}
    tensor |= {"data": data} if raw is None else {"parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    sizes = {"inference-header-content-length": str(len(head))}
    answer = httpx.post(f"{server.url}/v2/models/{COLOUR}/infer", content=head + (raw or b""), headers=sizes)
    (output,) = answer.raise_for_status().json()["outputs"]
    return dict(zip(LABELS, output["data"], strict=True))


def native(server: Server) -> Any:
    form = {"files": {"image": FILE}, "data": {"model": COLOUR}}
    return httpx.post(f"{server.url}/classify", **form).raise_for_status().json()


def by_label(answer: Any) -> dict[str, float]:
    return {entry["label"]: entry["probability"] for entry in answer["predictions"]}


async def asynchronously(server: Server) -> dict[str, float]:
    async with AsyncClient(server.url) as client:
        return dict((await client.predict(COLOUR, FILE)).predictions)


def with_client(server: Server, image: Any) -> dict[str, float]:
    with Client(server.url) as client:
        return dict(client.predict(COLOUR, image).predictions)


IN_BASE64 = base64.b64encode(FILE).decode()
LENGTH = len(FILE).to_bytes(4, "little")
ROUTES: dict[str, Callable[[Server], dict[str, float]]] = {
    "form": lambda server: by_label(v1(server, files={"image": FILE})),
    "json": lambda server: by_label(v1(server, json={"image": IN_BASE64})),
    "version": lambda server: by_label(v1(server, "versions/2/predict", content=FILE)),
    "batch": lambda server: by_label(v1(server, "predict-batch", files=[("images", FILE)] * 3)["results"][1]),
    "BentoML's own": lambda server: by_label(native(server)),
    "v2 uint8": lambda server: v2(server, "UINT8", [1, 8, 8, 3], PIXELS.tolist()),
    "v2 uint8 raw": lambda server: v2(server, "UINT8", [1, 8, 8, 3], None, PIXELS.tobytes()),
    "v2 fp32": lambda server: v2(server, "FP32", [1, 8, 8, 3], PIXELS.astype(float).ravel().tolist()),
    "v2 fp32 raw": lambda server: v2(server, "FP32", [1, 8, 8, 3], None, PIXELS.astype("<f4").tobytes()),
    "v2 file": lambda server: v2(server, "BYTES", [1], [IN_BASE64]),
    "v2 file raw": lambda server: v2(server, "BYTES", [1], None, LENGTH + FILE),
    "client, bytes": lambda server: with_client(server, FILE),
    "client, pixels": lambda server: with_client(server, PIXELS[0]),
    "asyncio client": lambda server: asyncio.run(asynchronously(server)),
}


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_gives_the_probabilities_of_the_raw_body(server: Server, route: str) -> None:
    assert ROUTES[route](server) == pytest.approx(by_label(v1(server, content=FILE)), abs=1e-5)
