from __future__ import annotations

import asyncio
import dataclasses
import gzip
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from starlette.applications import Starlette

from service.api import unfolding
from service.errors import BodyTooLarge
from service.inference.catalog import Catalog
from tests.pictures import encoded
from tests.service.api.test_middleware import behind_middleware, traffic_of
from tests.service.api.test_routes import PREDICT
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.anyio

INFER = f"/v2/models/{COLOUR}/infer"
JSON = {"content-type": "application/json"}
HEAD = b'{"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 8, 8, 3], "data": ['
FULL = {
    "lists": HEAD + b"[]," * 60_000 + b"0]}]}",
    "objects": HEAD + b"{}," * 60_000 + b"0]}]}",
    "lists with spaces": HEAD + b"[ ] ,\n" * 30_000 + b"0]}]}",
    "lists beside the input": b'{"x": [' + b"[]," * 60_000 + b"0]}",
    "lists in lists": HEAD + b"[[]]," * 30_000 + b"0]}]}",
    "numbers": HEAD + b"1," * 60_000 + b"1]}]}",
}


@pytest.fixture
def never_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(body: bytes) -> Any:
        raise AssertionError("was parsed")

    monkeypatch.setattr("service.api.oip.protocol.orjson.loads", parse)


def refusal_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.headers["x-error-code"]


@pytest.mark.usefixtures("never_parsed")
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("path", [INFER, PREDICT])
@pytest.mark.parametrize("body", FULL.values(), ids=FULL)
async def test_json_of_more_brackets_than_anybody_needs_is_refused_before_it_is_parsed(
    client: httpx.AsyncClient, body: bytes, path: str, encoding: str
) -> None:
    if encoding == "gzip":
        body = gzip.compress(body)
    answer = await client.post(path, content=body, headers=JSON | {"content-encoding": encoding})
    compressed_image = path == PREDICT and encoding == "gzip"
    assert refusal_of(answer) == ((415, "unsupported-media-type") if compressed_image else (413, "body-too-large"))


async def test_as_many_nested_pixels_as_a_body_holds_are_read(client: httpx.AsyncClient) -> None:
    pixels = [[[[1, 2, 3]] * 8] * 8] * 60
    tensor = {"name": "image", "datatype": "UINT8", "shape": [60, 8, 8, 3], "data": pixels}
    answer = await client.post(INFER, content=orjson.dumps({"inputs": [tensor]}), headers=JSON)
    assert answer.status_code == 200
    assert answer.json()["outputs"][0]["shape"] == [60, 3]


async def held_at_most(
    app: Starlette, catalog: Catalog, body: bytes, encoding: str, path: str = INFER, **changes: Any
) -> Any:
    """What is answered, and the most bytes that were held meanwhile."""
    traffic, most = traffic_of(dataclasses.replace(catalog.settings, **changes), app), 0

    hold = traffic.hold

    def noted(count: int) -> None:
        nonlocal most
        most = max(most, traffic.held_bytes + count)
        hold(count)

    traffic.hold = noted  # type: ignore[method-assign]
    async with behind_middleware(traffic, app) as client:
        answer = await client.post(path, content=body, headers=JSON | {"content-encoding": encoding})
    assert traffic.held_bytes == 0
    return answer, most


FLAT = HEAD + b"1.000000," * 20_000 + b"1]}]}"  # which is not what its shape says


async def test_unfolded_and_parsed_bytes_are_held_bytes_until_they_are_gone(app: Starlette, catalog: Catalog) -> None:
    folded = gzip.compress(FLAT)
    answer, most = await held_at_most(app, catalog, folded, "gzip")
    assert refusal_of(answer) == (400, "malformed-request")
    assert most > len(folded) + len(FLAT) + 8 * len(FLAT)


async def test_where_there_is_no_room_for_them_the_caller_is_asked_to_come_again(
    app: Starlette, catalog: Catalog
) -> None:
    answer, _ = await held_at_most(app, catalog, gzip.compress(FLAT), "gzip", max_held_bytes=9 * len(FLAT))
    assert refusal_of(answer) == (429, "too-many-bytes")


async def test_what_could_never_have_room_is_too_large(app: Starlette, catalog: Catalog) -> None:
    answer, _ = await held_at_most(app, catalog, FLAT, "identity", max_held_bytes=5 * len(FLAT))
    assert refusal_of(answer) == (413, "body-too-large")


async def test_one_body_is_unfolded_at_a_time() -> None:
    running = most = 0

    def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        running -= 1

    await asyncio.gather(*(unfolding.in_turn(work) for _ in range(50)))
    assert most == 1


def test_brackets_are_counted_and_named() -> None:
    brackets = unfolding.Brackets(lambda _: 3, json_bytes=12)
    brackets.add(b'[{"a"')
    brackets.add(b": [1]}][[[[")  # of which the last four are no JSON
    with pytest.raises(BodyTooLarge, match=r"at most 2 of \[ {, got 3 in the first 6 bytes"):
        unfolding.Brackets(lambda _: 2, json_bytes=6).add(b"[[[]]]")


async def test_a_bomb_is_unfolded_only_as_far_as_its_brackets_could_be_needed(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    add = unfolding.Brackets.add

    def noted(brackets: unfolding.Brackets, part: bytes) -> None:
        seen.append(len(part))
        add(brackets, part)

    monkeypatch.setattr(unfolding.Brackets, "add", noted)
    bomb = gzip.compress(HEAD + b"[]," * 30_000_000)
    answer = await client.post(INFER, content=bomb, headers=JSON | {"content-encoding": "gzip"})
    assert refusal_of(answer) == (413, "body-too-large")
    assert sum(seen) <= 500_000


async def test_an_unfolded_body_is_held_until_its_request_is_answered(
    app: Starlette, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its images may lie in it while they wait."""
    held_while_classified: list[int] = []
    classifier = catalog.find(COLOUR, None)
    classify_each = classifier.classify_each
    traffic = traffic_of(catalog.settings, app)

    async def noted(*arguments: Any) -> Any:
        held_while_classified.append(traffic.held_bytes)
        return await classify_each(*arguments)

    monkeypatch.setattr(classifier, "classify_each", noted)
    body = encoded(np.zeros((100, 100, 3), np.uint8), "BMP")
    headers = {"inference-header-content-length": "0", "content-encoding": "gzip"}
    async with behind_middleware(traffic, app) as client:
        answer = await client.post(INFER, content=gzip.compress(body), headers=headers)
    assert answer.status_code == 200
    assert held_while_classified[0] >= len(body)
    assert traffic.held_bytes == 0


TEXTS = {
    "one text": (b'{"image": "' + b"A" * 100_000 + b'"}', 2, (415, "not-an-image")),
    "one text with a wide letter": (
        b'{"image": "' + b"A" * 100_000 + b'\\ud83d\\ude00"}',
        5,
        (400, "malformed-request"),
    ),
    "many members": (b'{"image": "' + b"A" * 100_000 + b'"' + b',"a":1' * 10_001 + b"}", 0, (413, "body-too-large")),
}


@pytest.mark.parametrize(("body", "times", "right"), TEXTS.values(), ids=TEXTS)
async def test_long_json_of_v1_is_held_as_what_it_becomes(
    app: Starlette, catalog: Catalog, body: bytes, times: int, right: tuple[int, str]
) -> None:
    answer, most = await held_at_most(app, catalog, body, "identity", path=PREDICT)
    assert refusal_of(answer) == right
    assert (1 + times) * len(body) <= most < (2 + times) * len(body)
