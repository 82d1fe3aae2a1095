from __future__ import annotations

import asyncio
import base64
import dataclasses
import gzip
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from classifier.loaded_model import LoadedModel
from service.api import unfolding
from service.api.oip.routes import INLINE_JSON_BYTES, INLINE_RAW_BYTES
from service.api.routes import create_app, serve_catalog
from service.errors import QueueFull
from service.inference.catalog import Broken, Catalog
from service.inference.classifier import Classifier
from service.settings import Settings
from tests.pictures import noise, png
from tests.service.conftest import client_of
from tests.service.pictures import TEXT, jpeg, truncated
from tests.tiny_models import COLOUR, GREY, save_tiny_model

pytestmark = pytest.mark.anyio

INFER = f"/v2/models/{COLOUR}/infer"
HEADER = "inference-header-content-length"


def tensor(datatype: str, shape: Any, data: Any = None, **parameters: Any) -> dict[str, Any]:
    return {"name": "image", "datatype": datatype, "shape": list(shape), "data": data, "parameters": parameters}


def with_raw(raw: bytes, datatype: str, shape: Any, **rest: Any) -> dict[str, Any]:
    """The body and header of a request with one raw tensor, as arguments of `client.post`."""
    head = orjson.dumps({"inputs": [tensor(datatype, shape, binary_data_size=len(raw))], **rest})
    return {"content": head + raw, "headers": {HEADER: str(len(head))}}


def packed(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def probabilities(answer: httpx.Response) -> Any:
    """The output of an answer, whichever form it has: float32 [n, classes]."""
    assert answer.status_code == 200, answer.text
    json_bytes = int(answer.headers.get(HEADER, len(answer.content)))
    (output,) = orjson.loads(answer.content[:json_bytes])["outputs"]
    assert (output["name"], output["datatype"]) == ("probabilities", "FP32")
    if json_bytes == len(answer.content):
        flat = np.array(output["data"], np.float32)
    else:
        assert answer.headers["content-type"] == "application/octet-stream"
        assert output["parameters"]["binary_data_size"] == len(answer.content) - json_bytes
        flat = np.frombuffer(answer.content[json_bytes:], "<f4")
    return flat.reshape(output["shape"])


def check_error(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"  # KServe's client reads errors of no other type
    content = answer.json()
    assert set(content) == {"error"}
    return str(content["error"])


BINARY = {"parameters": {"binary_data_output": True}}


async def test_one_image_gets_the_same_probabilities_through_every_route(client: httpx.AsyncClient) -> None:
    pixels = noise(8, 8)
    file = png(pixels)
    base64_text = base64.b64encode(file).decode()
    v1 = (await client.post(f"/v1/models/{COLOUR}/predict", content=file)).json()["predictions"]
    expected = [next(e["probability"] for e in v1 if e["label"] == label) for label in ("red", "green", "blue")]
    floats = pixels.astype("<f4")
    requests: list[dict[str, Any]] = [
        {"json": {"inputs": [tensor("UINT8", [1, 8, 8, 3], pixels[None].tolist())]}},
        {"json": {"inputs": [tensor("UINT8", [1, 8, 8, 3], pixels.ravel().tolist())]}},
        {"json": {"inputs": [tensor("FP32", [1, 8, 8, 3], (floats + 0.3).clip(0, 255).ravel().tolist())]}},
        {"json": {"inputs": [tensor("BYTES", [1], [base64_text])]}},
        {"json": {"inputs": [tensor("BYTES", [1, 1], [f"data:image/png;base64,{base64_text}"])]} | BINARY},
        with_raw(pixels.tobytes(), "UINT8", [1, 8, 8, 3]),
        with_raw(floats.tobytes(), "FP32", [1, 8, 8, 3], **BINARY),
        with_raw(packed(file), "BYTES", [1], **BINARY),
        {"content": file, "headers": {HEADER: "0"}},
        {"content": pixels.tobytes(), "headers": {HEADER: "0"}},
    ]
    for request in requests:
        answer = probabilities(await client.post(INFER, **request))
        np.testing.assert_allclose(answer, [expected], atol=1e-5, err_msg=str(request)[:200])


async def test_dull_grey_pixels_are_treated_as_the_file_is(client: httpx.AsyncClient) -> None:
    dull = 100 + noise(28, 28, 1) // 8
    path = f"/v2/models/{GREY}/infer"
    from_file = probabilities(await client.post(path, content=png(dull[..., 0]), headers={HEADER: "0"}))
    from_pixels = probabilities(await client.post(path, **with_raw(dull.tobytes(), "UINT8", [1, 28, 28, 1])))
    np.testing.assert_allclose(from_pixels, from_file, atol=1e-5)


@pytest.mark.parametrize("output", ["JSON", "raw"])
async def test_rows_come_in_the_order_of_the_images(
    client: httpx.AsyncClient, offline: LoadedModel, output: str
) -> None:
    files = [jpeg(20 + seed, 20, seed) for seed in range(30)]
    rest = BINARY if output == "raw" else {}
    answer = await client.post(INFER, **with_raw(packed(*files), "BYTES", [30], **rest))
    np.testing.assert_allclose(probabilities(answer), offline.classify(files), atol=1e-5)
    assert (HEADER in answer.headers) == (output == "raw")


async def test_a_version_is_asked_under_its_own_path(client: httpx.AsyncClient, catalog: Catalog) -> None:
    body = jpeg()
    for version in (1, 2):
        path = f"/v2/models/{COLOUR}/versions/{version}/infer"
        answer = await client.post(path, **with_raw(packed(body), "BYTES", [1]))
        assert (answer.json()["model_name"], answer.json()["model_version"]) == (COLOUR, str(version))
        row = catalog.find(COLOUR, version).model.classify([body])
        np.testing.assert_allclose(probabilities(answer), row, atol=1e-5)


async def test_an_id_comes_back_and_none_is_made_up(client: httpx.AsyncClient) -> None:
    request = {"inputs": [tensor("BYTES", [1], [base64.b64encode(jpeg()).decode()])]}
    assert (await client.post(INFER, json=request | {"id": "Größe 7"})).json()["id"] == "Größe 7"
    assert "id" not in (await client.post(INFER, json=request)).json()


async def test_classification_gives_the_best_classes_of_each_image(
    client: httpx.AsyncClient, offline: LoadedModel
) -> None:
    files = [jpeg(seed=seed) for seed in range(3)]
    output = {"name": "probabilities", "parameters": {"classification": 2}}
    answer = await client.post(INFER, **with_raw(packed(*files), "BYTES", [3], outputs=[output]))
    (got,) = answer.json()["outputs"]
    assert (got["datatype"], got["shape"]) == ("BYTES", [3, 2])
    expected = [prediction for file in files for prediction in offline.predict(file, 2)]
    for text, prediction in zip(got["data"], expected, strict=True):
        value, column, label = text.split(":")
        assert (label, int(column)) == (prediction.label, offline.card.labels.index(prediction.label))
        assert float(value) == pytest.approx(prediction.probability, abs=1e-5)


async def test_classification_comes_as_raw_bytes_too_and_never_has_more_classes_than_there_are(
    client: httpx.AsyncClient,
) -> None:
    output = {"name": "probabilities", "parameters": {"classification": 100, "binary_data": True}}
    answer = await client.post(INFER, **with_raw(packed(jpeg()), "BYTES", [1], outputs=[output]))
    json_bytes = int(answer.headers[HEADER])
    (got,) = orjson.loads(answer.content[:json_bytes])["outputs"]
    assert (got["datatype"], got["shape"]) == ("BYTES", [1, 3])
    elements, rest = [], answer.content[json_bytes:]
    while rest:
        (size,) = struct.unpack_from("<I", rest)
        elements.append(rest[4 : 4 + size].decode())
        rest = rest[4 + size :]
    assert {element.split(":")[2] for element in elements} == {"red", "green", "blue"}


async def test_labels_of_any_alphabet_are_counted_in_bytes(settings: Settings, tmp_path: Any) -> None:
    from classifier.store import ModelStore

    save_tiny_model(ModelStore(tmp_path), labels=("кот", "犬"))
    catalog = Catalog(dataclasses.replace(settings, models=tmp_path))
    await catalog.load()
    app = create_app()
    serve_catalog(app, catalog)
    output = {"name": "probabilities", "parameters": {"classification": 2, "binary_data": True}}
    async with client_of(app) as client:
        answer = await client.post("/v2/models/tiny/infer", **with_raw(packed(jpeg()), "BYTES", [1], outputs=[output]))
    raw = answer.content[int(answer.headers[HEADER]) :]
    (size,) = struct.unpack_from("<I", raw)
    assert raw[4 : 4 + size].decode().split(":")[2] in ("кот", "犬")
    await catalog.close()


@pytest.mark.parametrize(("encoding", "fold"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_compressed_request_is_read(client: httpx.AsyncClient, encoding: str, fold: Any) -> None:
    plain = with_raw(packed(jpeg()), "BYTES", [1])
    folded = {"content": fold(plain["content"]), "headers": plain["headers"] | {"content-encoding": encoding}}
    answers = [probabilities(await client.post(INFER, **request)) for request in (plain, folded)]
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-5)


async def test_a_bomb_is_refused_at_the_limit_of_a_plain_body(client: httpx.AsyncClient) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    answer = await client.post(INFER, content=bomb, headers={"content-encoding": "gzip", HEADER: "0"})
    assert "200,000 bytes" in check_error(answer, 413)


@pytest.mark.parametrize("accepted", ["gzip", "deflate"])
@pytest.mark.parametrize("rest", [{}, BINARY], ids=["JSON", "raw"])
async def test_a_long_answer_is_compressed_when_the_caller_asks(
    client: httpx.AsyncClient, accepted: str, rest: dict[str, Any]
) -> None:
    request = with_raw(bytes(64 * 784), "UINT8", [64, 28, 28, 1], **rest)
    request["headers"]["accept-encoding"] = accepted
    answer = await client.post(f"/v2/models/{GREY}/infer", **request)
    assert answer.headers["content-encoding"] == accepted
    assert probabilities(answer).shape == (64, 4)


async def test_a_short_answer_stays_as_it_is(client: httpx.AsyncClient) -> None:
    answer = await client.post(INFER, content=jpeg(), headers={HEADER: "0", "accept-encoding": "gzip"})
    assert "content-encoding" not in answer.headers


async def test_large_requests_are_read_in_a_thread(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "settings", dataclasses.replace(catalog.settings, max_body_bytes=10_000_000))
    app = create_app()
    serve_catalog(app, catalog)
    threaded = []
    to_thread = asyncio.to_thread

    async def noted(function: Any, *arguments: Any) -> Any:
        threaded.append(function.__name__)
        return await to_thread(function, *arguments)

    in_turn = unfolding.in_turn

    async def noted_in_turn(function: Any) -> Any:
        threaded.append(f"{function.func.__name__} in turn")
        return await in_turn(function)

    monkeypatch.setattr(asyncio, "to_thread", noted)
    monkeypatch.setattr(unfolding, "in_turn", noted_in_turn)
    pixels = np.zeros((64, 8, 8, 3), np.uint8)
    many = {"inputs": [tensor("UINT8", pixels.shape, (pixels + 100).tolist())]}
    assert len(orjson.dumps(many)) > INLINE_JSON_BYTES
    files = [png(noise(250, 200))] * 3
    assert len(packed(*files)) > INLINE_RAW_BYTES
    async with client_of(app) as client:
        for request in ({"json": many}, with_raw(packed(*files), "BYTES", [3])):
            assert (await client.post(INFER, **request)).status_code == 200
        await client.post(INFER, **with_raw(pixels.tobytes(), "UINT8", pixels.shape))
    assert threaded == ["_unfolded in turn", "_asked in turn", "_asked"]  # brackets are counted first


@pytest.mark.parametrize(
    ("bad", "status"),
    [(TEXT, 415), (b"", 415), (truncated(jpeg(300, 200)), 422)],
    ids=["text", "nothing", "truncated"],
)
async def test_one_bad_file_fails_the_request_and_is_named(client: httpx.AsyncClient, bad: bytes, status: int) -> None:
    answer = await client.post(INFER, **with_raw(packed(jpeg(), bad, jpeg()), "BYTES", [3]))
    assert check_error(answer, status).startswith("image 1: ")


async def test_bad_pixels_fail_the_request_and_the_image_is_named(client: httpx.AsyncClient) -> None:
    floats = np.zeros((2, 8, 8, 3), "<f4")
    floats[1, 3, 3, 0] = float("nan")
    answer = await client.post(INFER, **with_raw(floats.tobytes(), "FP32", floats.shape))
    assert check_error(answer, 400) == "image 1: pixels must lie in 0..255, not nan"


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        ({"content": jpeg()}, 400, "Inference-Header-Content-Length: 0"),
        ({"json": {}}, 400, "inputs"),
        ({"json": {"inputs": [tensor("UINT8", [1, 9, 9, 3], [])]}}, 400, "[n, 8, 8, 3]"),
        ({"json": {"inputs": [tensor("BYTES", [1], ["a cat"])]}}, 400, "data: URL"),
        ({"content": b"{}", "headers": {HEADER: "3"}}, 400, "from 0 to the body's 2"),
        ({"content": TEXT, "headers": {HEADER: "0"}}, 415, "image 0: expected a JPEG"),
        ({"content": bytes(200_001)}, 413, "200,000 bytes"),
        (with_raw(bytes(65 * 192), "UINT8", [65, 8, 8, 3]), 413, "at most 64 images"),
        ({"content": b"{}", "headers": {"content-encoding": "br"}}, 415, "gzip or deflate"),
        ({"content": b"{}", "headers": {"content-encoding": "gzip"}}, 400, "not gzip"),
    ],
    ids=["no header", "no inputs", "shape", "prose", "header", "bare text", "large", "many", "brotli", "not gzip"],
)
async def test_a_request_we_cannot_use_is_an_error_of_the_protocol(
    client: httpx.AsyncClient, request_: dict[str, Any], status: int, said: str
) -> None:
    assert said in check_error(await client.post(INFER, **request_), status)


@pytest.mark.parametrize("rest", ["", "/ready", "/config", "/stats", "/versions/7", "/versions/7/ready"])
async def test_an_unknown_model_or_version_is_not_found(client: httpx.AsyncClient, rest: str) -> None:
    name = COLOUR if "versions" in rest else "dogs"
    check_error(await client.get(f"/v2/models/{name}{rest}"), 404)


async def test_infer_of_an_unknown_model_lists_the_known_ones(client: httpx.AsyncClient) -> None:
    assert f"{COLOUR}, {GREY}" in check_error(await client.post("/v2/models/dogs/infer", json={}), 404)


@pytest.mark.parametrize("version", ["Latest", "0", "01", "-1", "9" * 5000])
async def test_a_version_that_is_no_whole_number_is_an_error(client: httpx.AsyncClient, version: str) -> None:
    assert "whole number" in check_error(await client.get(f"/v2/models/{COLOUR}/versions/{version}"), 400)


@pytest.mark.parametrize("path", ["/v2/nothing", "/v2/health", f"/v2/models/{COLOUR}/generate", "/v2/trace/setting"])
async def test_a_path_we_do_not_serve_is_an_error_of_the_protocol(client: httpx.AsyncClient, path: str) -> None:
    check_error(await client.get(path), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", INFER, "POST"),
        ("POST", "/v2/models", "GET, HEAD"),
        ("GET", "/v2/repository/index", "POST"),
        ("DELETE", f"/v2/models/{COLOUR}", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_names_the_right_one(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await client.request(method, path)
    check_error(answer, 405)
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"ready": 1}'])
async def test_a_repository_index_request_of_the_wrong_form_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    check_error(await client.post("/v2/repository/index", content=body), 400)


async def test_a_loaded_server_is_live_and_ready(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v2/health/live")).json() == {"live": True}
    assert (await client.get("/v2/health/ready")).json() == {"ready": True}
    for path in (f"/v2/models/{COLOUR}/ready", f"/v2/models/{COLOUR}/versions/1/ready"):
        assert (await client.get(path)).json() == {"name": COLOUR, "ready": True}


@pytest.fixture
async def unloaded(catalog: Catalog) -> AsyncIterator[httpx.AsyncClient]:
    """A server that has just been started."""
    app = create_app()
    serve_catalog(app, Catalog(catalog.settings))
    async with client_of(app) as client:
        yield client


async def test_a_server_that_is_still_loading_is_live_and_not_ready(unloaded: httpx.AsyncClient) -> None:
    assert (await unloaded.get("/v2/health/live")).status_code == 200
    for answer in (
        await unloaded.get("/v2/health/ready"),
        await unloaded.get(f"/v2/models/{COLOUR}/ready"),
        await unloaded.post(INFER, json={}),
    ):
        check_error(answer, 503)
        assert answer.headers["retry-after"] == "1"
    assert (await unloaded.get("/v2/models")).json() == {"models": []}
    assert (await unloaded.get("/v2/models/stats")).json() == {"model_stats": []}


async def test_a_broken_version_is_not_ready_and_the_others_answer_for_their_model(
    catalog: Catalog, settings: Settings
) -> None:
    half = Catalog(settings)
    half.entries = {COLOUR: {1: catalog.entries[COLOUR][1], 2: Broken("it failed to load")}}
    app = create_app()
    serve_catalog(app, half)
    async with client_of(app) as client:
        broken = await client.get(f"/v2/models/{COLOUR}/versions/2/ready")
        assert "it failed to load" in check_error(broken, 503)
        assert (await client.get(f"/v2/models/{COLOUR}/ready")).status_code == 200
        assert (await client.get(f"/v2/models/{COLOUR}/versions/1/ready")).status_code == 200
        stats = (await client.get(f"/v2/models/{COLOUR}/stats")).json()["model_stats"]
        assert [entry["version"] for entry in stats] == ["1"]


async def test_a_full_queue_is_429_with_retry_after(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(self: Classifier, bodies: Any, deadline: float) -> None:
        raise QueueFull("256 images wait", retry_after_s=2.3)

    monkeypatch.setattr(Classifier, "classify_each", refuse)
    answer = await client.post(INFER, content=jpeg(), headers={HEADER: "0"})
    check_error(answer, 429)
    assert answer.headers["retry-after"] == "3"


async def dawdle(self: Classifier, images: Any, deadline: float) -> None:
    await asyncio.sleep(10)


async def test_a_timeout_of_the_request_is_504(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Classifier, "classify_pixels", dawdle)
    request = with_raw(bytes(192), "UINT8", [1, 8, 8, 3], parameters={"timeout": 20_000})
    assert "within 0.02 s" in check_error(await client.post(INFER, **request), 504)


async def test_a_timeout_longer_than_ours_does_not_help(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Classifier, "classify_pixels", dawdle)
    monkeypatch.setattr(catalog, "settings", dataclasses.replace(catalog.settings, request_timeout_ms=20))
    app = create_app()
    serve_catalog(app, catalog)
    request = with_raw(bytes(192), "UINT8", [1, 8, 8, 3], parameters={"timeout": 60_000_000})
    async with client_of(app) as client:
        assert "within 0.02 s" in check_error(await client.post(INFER, **request), 504)


async def test_the_deadline_of_the_queue_is_the_requests(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[float] = []

    async def note(self: Classifier, images: Any, deadline: float) -> list[Any]:
        left.append(deadline - asyncio.get_running_loop().time())
        return [np.full(3, 1 / 3, np.float32)]

    monkeypatch.setattr(Classifier, "classify_pixels", note)
    await client.post(INFER, **with_raw(bytes(192), "UINT8", [1, 8, 8, 3], parameters={"timeout": 2_000_000}))
    await client.post(INFER, **with_raw(bytes(192), "UINT8", [1, 8, 8, 3]))
    assert 0 < left[0] <= 2 < left[1] <= 30


async def test_a_failure_of_ours_is_500_and_reveals_nothing(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(self: Classifier, images: Any, deadline: float) -> None:
        raise RuntimeError("/home/somebody/secret")

    monkeypatch.setattr(Classifier, "classify_pixels", fail)
    answer = await client.post(INFER, **with_raw(bytes(192), "UINT8", [1, 8, 8, 3]))
    assert "secret" not in check_error(answer, 500)
    assert "/home/somebody/secret" in caplog.text


async def test_many_callers_at_once_all_get_their_own_answer(client: httpx.AsyncClient, offline: LoadedModel) -> None:
    pixels = np.stack([noise(8, 8, seed=seed) for seed in range(60)])
    requests = [with_raw(image.tobytes(), "UINT8", [1, 8, 8, 3], **BINARY) for image in pixels]
    answers = await asyncio.gather(*(client.post(INFER, **request) for request in requests))
    rows = np.concatenate([probabilities(answer) for answer in answers])
    np.testing.assert_allclose(rows, offline.engine.infer(pixels), atol=1e-5)
