"""What is answered is forgotten at once: the garbage collector, which is rare in the server, has nothing to free.

A request that waits for it holds its body, its picture, or both, while others come.
"""

from __future__ import annotations

import asyncio
import base64
import gc
from collections.abc import Iterator

import httpx
import numpy as np
import orjson
import pytest
from starlette.applications import Starlette

from load_tests.chaos.attacks import swollen_webp
from service.api.traffic import Traffic
from service.errors import DeadlinePassed
from service.inference.catalog import Catalog
from tests.service.api.test_routes import BATCH, PREDICT
from tests.service.pictures import TEXT, jpeg, slow_to_decode, truncated
from tests.service.server.test_fast_path import Caller, nobody_stays, post, traffic  # noqa: F401 (fixtures)
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.anyio

INFER = f"/v2/models/{COLOUR}/infer"
EXPLAIN = f"/v1/models/{COLOUR}/explain"


def form(path: str, *bodies: bytes, name: str = "image") -> bytes:
    built = httpx.Request("POST", "http://x", files=[(name, body) for body in bodies])
    return post(path, built.read(), Content_Type=built.headers["content-type"])


def json(path: str, content: object) -> bytes:
    return post(path, orjson.dumps(content), Content_Type="application/json")


def encoded(body: bytes) -> dict[str, str]:
    return {"image": base64.b64encode(body).decode()}


def tensor(body: bytes) -> dict[str, object]:
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [encoded(body)["image"]]}]}


REQUESTS = {
    "an image": (post(), 200),
    "a photo": (post(body=jpeg(600, 400)), 200),
    "a large picture": (post(body=slow_to_decode()), 200),
    "an image on the slow path": (post(x_request_timeout_ms="5000"), 200),
    "a damaged thumbnail": (post(body=truncated(jpeg())), 422),
    "a damaged picture": (post(body=swollen_webp(1_000)), 422),
    "a damaged picture on the slow path": (post(body=swollen_webp(1_000), x_request_timeout_ms="5000"), 422),
    "too many pixels": (post(body=swollen_webp(8_000)), 413),
    "no picture": (post(body=TEXT), 415),
    "base64": (json(PREDICT, encoded(jpeg(600, 400))), 200),
    "base64 of a damaged picture": (json(PREDICT, encoded(swollen_webp(1_000))), 422),
    "no JSON": (post(body=b"{", Content_Type="application/json"), 400),
    "a form": (form(PREDICT, jpeg(600, 400)), 200),
    "a form of a damaged picture": (form(PREDICT, swollen_webp(1_000)), 422),
    "a form with another name": (form(PREDICT, jpeg(), name="picture"), 400),
    "a batch": (form(BATCH, jpeg(600, 400), swollen_webp(1_000), TEXT, name="images"), 200),
    "a late image": (post(body=slow_to_decode(), x_request_timeout_ms="1"), 504),
    "an explanation": (post(EXPLAIN, jpeg(600, 400)), 200),
    "an explanation of a damaged picture": (post(EXPLAIN, swollen_webp(1_000)), 422),
    "a tensor": (json(INFER, tensor(jpeg(600, 400))), 200),
    "a tensor of a damaged picture": (json(INFER, tensor(swollen_webp(1_000))), 422),
    "an unknown model": (post("/v1/models/unknown/predict"), 404),
    "another method": (post().replace(b"POST", b"GET"), 405),
}


@pytest.fixture(scope="module", autouse=True)
def only_what_is_new() -> Iterator[None]:
    """Leave to the collector what is made from now on: to go through all that was imported takes long."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def only_by_hand() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("only_by_hand")
@pytest.mark.parametrize(("sent", "status"), REQUESTS.values(), ids=REQUESTS)
async def test_an_answered_request_leaves_nothing_to_the_garbage_collector(
    app: Starlette,
    catalog: Catalog,
    traffic: Traffic,  # noqa: F811
    sent: bytes,
    status: int,
) -> None:
    caller = Caller(app, catalog, traffic)
    answers = []
    for _ in range(2):  # the first one fills caches
        gc.collect()
        caller.wire.writes.clear()
        answers.append((await caller.answer(sent)).status)
    unreachable = gc.collect()
    assert (answers, unreachable) == ([status] * 2, 0)


@pytest.mark.usefixtures("only_by_hand")
async def test_a_batch_that_came_up_too_late_leaves_nothing_either(catalog: Catalog) -> None:
    classifier, past = catalog.find(COLOUR), asyncio.get_running_loop().time() - 1
    for _ in range(2):
        gc.collect()
        with pytest.raises(DeadlinePassed):
            await classifier.classify_each([jpeg(600, 400)], past)
        with pytest.raises(DeadlinePassed):
            await classifier.classify_pixels(np.zeros((2, *classifier.card.input.shape), np.uint8), past)
    assert gc.collect() == 0
