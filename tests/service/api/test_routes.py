from __future__ import annotations

import asyncio
import base64
import dataclasses
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse

from classifier.loaded_model import LoadedModel
from service.api.routes import create_app, in_words, serve_catalog
from service.client.version import VERSION
from service.errors import QueueFull
from service.inference.catalog import Catalog
from service.inference.classifier import Classifier
from tests.service.conftest import client_of
from tests.service.pictures import TEXT, jpeg, truncated
from tests.tiny_models import COLOUR, GREY

pytestmark = pytest.mark.anyio

PREDICT = f"/v1/models/{COLOUR}/predict"
BATCH = f"/v1/models/{COLOUR}/predict-batch"
AS_JPEG = {"content-type": "image/jpeg"}


def by_label(answer: dict[str, Any]) -> dict[str, float]:
    return {entry["label"]: entry["probability"] for entry in answer["predictions"]}


def check_problem(answer: httpx.Response, status: int, code: str) -> str:
    """An RFC 9457 problem with this status and code; gives its detail."""
    assert answer.headers["content-type"] == "application/problem+json"
    content = answer.json()
    assert set(content) == {"type", "title", "status", "detail", "code"}
    assert (answer.status_code, content["status"], content["code"]) == (status, status, code)
    return str(content["detail"])


async def test_the_probabilities_are_those_of_the_model_itself(client: httpx.AsyncClient, offline: LoadedModel) -> None:
    body = jpeg(400, 300)
    answer = (await client.post(PREDICT, content=body, headers=AS_JPEG)).json()
    expected = dict(zip(offline.card.labels, offline.classify([body])[0].tolist(), strict=True))
    assert (answer["model"], answer["version"]) == (COLOUR, 2)
    assert by_label(answer) == pytest.approx(expected, abs=1e-5)


async def test_raw_form_and_json_give_the_same_numbers(client: httpx.AsyncClient) -> None:
    body = jpeg()
    answers = [
        await client.post(PREDICT, content=body, headers=AS_JPEG),
        await client.post(PREDICT, content=body),
        await client.post(PREDICT, files={"image": ("cat.jpg", body, "image/jpeg")}),
        await client.post(PREDICT, json={"image": base64.b64encode(body).decode()}),
    ]
    assert [answer.status_code for answer in answers] == [200] * 4
    for answer in answers[1:]:
        assert by_label(answer.json()) == pytest.approx(by_label(answers[0].json()), abs=1e-5)


async def test_predictions_come_most_probable_first_and_sum_to_one(client: httpx.AsyncClient) -> None:
    answer = (await client.post(PREDICT, content=jpeg())).json()
    probabilities = [entry["probability"] for entry in answer["predictions"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    assert set(by_label(answer)) == {"red", "green", "blue"}


async def test_top_k_gives_the_first_k(client: httpx.AsyncClient) -> None:
    everything = (await client.post(PREDICT, content=jpeg())).json()["predictions"]
    answer = await client.post(f"{PREDICT}?top_k=2", content=jpeg())
    assert answer.json()["predictions"] == everything[:2]


@pytest.mark.parametrize("text", ["0", "4", "-1", "two", "1.0", "", "\u0661"])
async def test_a_top_k_out_of_range_is_refused_naming_the_range(client: httpx.AsyncClient, text: str) -> None:
    answer = await client.post(PREDICT, params={"top_k": text}, content=jpeg())
    assert "from 1 to 3" in check_problem(answer, 400, "malformed-request")


@pytest.mark.parametrize("query", ["topk=1", "top_k=1&top_k=2"])
async def test_a_parameter_we_do_not_know_is_refused(client: httpx.AsyncClient, query: str) -> None:
    check_problem(await client.post(f"{PREDICT}?{query}", content=jpeg()), 400, "malformed-request")


async def test_a_version_is_asked_under_its_own_path(client: httpx.AsyncClient, catalog: Catalog) -> None:
    body = jpeg()
    for version in (1, 2):
        answer = (await client.post(f"/v1/models/{COLOUR}/versions/{version}/predict", content=body)).json()
        row = catalog.find(COLOUR, version).model.classify([body])[0]
        assert answer["version"] == version
        assert by_label(answer) == pytest.approx(
            dict(zip(("red", "green", "blue"), row.tolist(), strict=True)), abs=1e-5
        )


async def test_a_grey_model_takes_colour_pictures(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"/v1/models/{GREY}/predict", content=jpeg())
    assert set(by_label(answer.json())) == {"a", "b", "c", "d"}


async def test_one_bad_image_does_not_fail_the_others(client: httpx.AsyncClient, offline: LoadedModel) -> None:
    good = jpeg(300, 200)
    files = [("images", good), ("images", TEXT), ("images", truncated(jpeg(300, 200, seed=1)))]
    answer = (await client.post(BATCH, files=files)).json()
    assert (answer["model"], answer["version"]) == (COLOUR, 2)
    expected = dict(zip(offline.card.labels, offline.classify([good])[0].tolist(), strict=True))
    assert by_label(answer["results"][0]) == pytest.approx(expected, abs=1e-5)
    assert [set(result) for result in answer["results"]] == [{"predictions"}, {"error"}, {"error"}]
    assert [result["error"]["code"] for result in answer["results"][1:]] == ["not-an-image", "undecodable-image"]
    assert [result["error"]["status"] for result in answer["results"][1:]] == [415, 422]


async def test_batch_results_come_in_the_order_of_the_images(client: httpx.AsyncClient, offline: LoadedModel) -> None:
    bodies = [jpeg(20 + seed, 20, seed) for seed in range(30)]
    answer = (await client.post(f"{BATCH}?top_k=1", files=[("images", body) for body in bodies])).json()
    labels = [offline.predict(body)[0].label for body in bodies]
    assert [result["predictions"][0]["label"] for result in answer["results"]] == labels
    assert len(set(labels)) > 1


async def test_a_batch_of_one_version_is_asked_under_its_own_path(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"/v1/models/{COLOUR}/versions/1/predict-batch", files=[("images", jpeg())])
    assert answer.json()["version"] == 1


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (TEXT, 415, "not-an-image"),
        (b"", 415, "not-an-image"),
        (truncated(jpeg(300, 200)), 422, "undecodable-image"),
        (b"\xff\xd8\xff" + bytes(200_000), 413, "body-too-large"),
    ],
    ids=["text", "nothing", "truncated", "too many bytes"],
)
async def test_a_body_we_cannot_use_is_a_problem(
    client: httpx.AsyncClient, body: bytes, status: int, code: str
) -> None:
    check_problem(await client.post(PREDICT, content=body, headers=AS_JPEG), status, code)


async def test_a_content_type_we_do_not_take_is_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.post(PREDICT, content=jpeg(), headers={"content-type": "text/html"})
    check_problem(answer, 415, "unsupported-media-type")


async def test_an_unknown_model_is_a_problem_that_lists_the_known_ones(client: httpx.AsyncClient) -> None:
    for path in ("/v1/models/dogs/predict", "/v1/models/dogs/predict-batch"):
        assert f"{COLOUR}, {GREY}" in check_problem(await client.post(path, content=jpeg()), 404, "unknown-model")
    assert COLOUR in check_problem(await client.get("/v1/models/dogs"), 404, "unknown-model")


async def test_an_unknown_version_is_a_problem_that_lists_the_known_ones(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"/v1/models/{COLOUR}/versions/7/predict", content=jpeg())
    assert "there is: 1, 2" in check_problem(answer, 404, "unknown-model")


@pytest.mark.parametrize("version", ["latest", "0", "01", "-1", "1.0", "9999999999"])
async def test_a_version_that_is_no_whole_number_is_a_problem(client: httpx.AsyncClient, version: str) -> None:
    answer = await client.get(f"/v1/models/{COLOUR}/versions/{version}")
    assert "whole number" in check_problem(answer, 400, "malformed-request")


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/", "/v1/nothing", f"/v1/models/{COLOUR}/train", f"/v1/models/{COLOUR}/versions"]
)
async def test_a_path_we_do_not_serve_is_a_problem(client: httpx.AsyncClient, path: str) -> None:
    check_problem(await client.get(path), 404, "no-such-path")


@pytest.mark.parametrize("path", ["/predict", "/api/v1/predict", "/v3/models", "/web/nothing.js", "/favicon.ico"])
async def test_any_other_path_is_a_problem_that_points_to_the_right_ones(client: httpx.AsyncClient, path: str) -> None:
    for method in ("GET", "POST"):
        said = (await client.request(method, path)).json()
        if said["status"] == 405 and path.startswith("/web/"):  # files are only read
            continue
        assert (said["status"], said["code"]) == (404, "no-such-path")
        for pointer in (path, "POST /v1/models/MODEL/predict", "GET /v1/models", "/docs"):
            assert pointer in said["detail"]


@pytest.mark.parametrize(
    ("text", "status", "headers", "expected"),
    [
        ("Not Found", 404, {}, (404, "no-such-path", None)),
        ("Method Not Allowed", 405, {"allow": "POST"}, (405, "method-not-allowed", "POST")),
        ("busy", 503, {}, (503, None, None)),
        ("", 200, {}, (200, None, None)),
    ],
)
async def test_what_another_app_says_of_a_path_in_plain_text_becomes_a_problem(
    text: str, status: int, headers: dict[str, str], expected: tuple[int, str | None, str | None]
) -> None:
    others = in_words(PlainTextResponse(text, status, headers))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(others), base_url="http://sightline") as client:
        answer = await client.get("/classify")
        code = answer.headers.get("x-error-code")
        assert (answer.status_code, code, answer.headers.get("allow")) == expected
        assert (answer.text == text) == (code is None)
        assert code is None or "error" in (await client.get("/v2/classify")).json()


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/", "GET, HEAD"),
        ("DELETE", "/docs", "GET, HEAD"),
        ("GET", PREDICT, "POST"),
        ("PUT", BATCH, "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
        ("DELETE", PREDICT, "POST"),
    ],
)
async def test_a_wrong_method_is_a_problem_that_names_the_right_one(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await client.request(method, path)
    check_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == allowed


async def test_the_models_are_listed_with_their_versions(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/models")).json() == {
        "models": [
            {"model": COLOUR, "version": 2, "versions": [1, 2], "ready": True},
            {"model": GREY, "version": 1, "versions": [1], "ready": True},
        ],
        "ready": True,
    }


async def test_a_model_says_what_its_card_says_and_how_it_runs(client: httpx.AsyncClient, offline: LoadedModel) -> None:
    about = (await client.get(f"/v1/models/{COLOUR}")).json()
    assert about["labels"] == ["red", "green", "blue"]
    assert about["input"] == {"height": 8, "width": 8, "channels": 3, "resize": "bilinear", "contrast": "none"}
    assert (about["version"], about["versions"], about["ready"]) == (2, [1, 2], True)
    assert (about["engine"], about["precision"], about["streams"]) == ("openvino", "float32", offline.engine.streams)
    assert about["device"] == offline.engine.device
    assert {"metrics", "recipe", "article", "parameters"} <= set(about)


async def test_an_older_version_describes_itself(client: httpx.AsyncClient) -> None:
    assert (await client.get(f"/v1/models/{COLOUR}/versions/1")).json()["version"] == 1


@pytest.fixture
async def unloaded(catalog: Catalog) -> AsyncIterator[httpx.AsyncClient]:
    """A server that has just been started."""
    app = create_app()
    serve_catalog(app, Catalog(catalog.settings))
    async with client_of(app) as client:
        yield client


async def test_a_server_that_is_still_loading_says_so(unloaded: httpx.AsyncClient) -> None:
    answer = await unloaded.post(PREDICT, content=jpeg())
    check_problem(answer, 503, "not-ready")
    assert answer.headers["retry-after"] == "1"
    assert (await unloaded.get("/v1/models")).json() == {"models": [], "ready": False}


async def test_a_full_queue_is_429_with_retry_after(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(self: Classifier, body: bytes, deadline: float) -> None:
        raise QueueFull("256 images wait", retry_after_s=2.3)

    monkeypatch.setattr(Classifier, "classify", refuse)
    answer = await client.post(PREDICT, content=jpeg())
    check_problem(answer, 429, "queue-full")
    assert answer.headers["retry-after"] == "3"


async def test_an_answer_that_takes_too_long_is_504(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    async def dawdle(self: Classifier, body: bytes, deadline: float) -> None:
        await asyncio.sleep(10)

    monkeypatch.setattr(Classifier, "classify", dawdle)
    monkeypatch.setattr(catalog, "settings", dataclasses.replace(catalog.settings, request_timeout_ms=20))
    app = create_app()
    serve_catalog(app, catalog)
    async with client_of(app) as client:
        check_problem(await client.post(PREDICT, content=jpeg()), 504, "deadline-passed")


async def test_a_failure_of_ours_is_500_and_reveals_nothing(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(self: Classifier, body: bytes, deadline: float) -> None:
        raise RuntimeError("/home/somebody/secret")

    monkeypatch.setattr(Classifier, "classify", fail)
    answer = await client.post(PREDICT, content=jpeg())
    check_problem(answer, 500, "internal")
    assert "secret" not in answer.text
    assert "/home/somebody/secret" in caplog.text


async def test_many_callers_at_once_all_get_their_own_answer(app: Starlette, offline: LoadedModel) -> None:
    bodies = [jpeg(10 + seed, 10 + seed % 7, seed) for seed in range(60)]
    rows = offline.classify(bodies)
    async with client_of(app) as client:
        answers = await asyncio.gather(*(client.post(PREDICT, content=body) for body in bodies))
    for answer, row in zip(answers, rows, strict=True):
        np.testing.assert_allclose([by_label(answer.json())[label] for label in offline.card.labels], row, atol=1e-5)


async def test_the_server_says_what_runs_and_how_it_is_set_and_nothing_secret(
    catalog: Catalog,
) -> None:
    secret = {"api_keys": ("a-key-of-this-year",), "api_keys_file": "/secret/keys"}
    secret |= {"tls_cert": "/secret/tls.crt", "tls_key": "/secret/tls.key"}
    guarded = create_app()
    serve_catalog(guarded, Catalog(dataclasses.replace(catalog.settings, trusted_proxies=("10.0.0.0/8",), **secret)))  # type: ignore[arg-type]
    async with client_of(guarded) as client:
        answer = await client.get("/v1/server")
    said = answer.json()
    assert (said["name"], said["version"], said["engine"]) == ("sightline", VERSION, "openvino")
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", said["commit"])
    assert datetime.now(UTC) - datetime.fromisoformat(said["started"]) < timedelta(minutes=5)
    assert said["settings"]["trusted_proxies"] == ["10.0.0.0/8"]
    assert said["settings"]["max_body_bytes"] == 200_000
    assert not {"api_keys", "api_keys_file", "tls_cert", "tls_key"} & said["settings"].keys()
    assert "secret" not in answer.text
    assert "a-key-of-this-year" not in answer.text
    assert str(catalog.settings.models) not in answer.text
