"""The Open Inference Protocol as the clients of Triton and of KServe speak it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from classifier.engines import EngineOptions
from classifier.loaded_model import LoadedModel
from classifier.store import ModelStore
from tests.e2e.servers import Server
from tests.pictures import noise, png
from tests.service.pictures import TEXT, jpeg
from tests.tiny_models import COLOUR, GREY

pytestmark = pytest.mark.e2e

LABELS = ["red", "green", "blue"]
PIXELS = np.stack([noise(8, 8, seed=seed) for seed in range(5)])


@pytest.fixture(scope="module")
def offline(tiny_models_root: Any) -> Iterator[LoadedModel]:
    options = EngineOptions(engine="openvino", precision="float32")
    model = LoadedModel.open(ModelStore(tiny_models_root), COLOUR, options=options)
    yield model
    model.close()


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
        yield client


def image_input(images: Any, datatype: str, binary: bool = True) -> list[triton.InferInput]:
    tensor = triton.InferInput("image", list(images.shape), datatype)
    return [tensor.set_data_from_numpy(images, binary_data=binary)]


def files(*bodies: bytes) -> Any:
    return np.array(bodies, dtype=np.object_)


def through_v1(server: Server, body: bytes) -> list[float]:
    answer = httpx.post(f"{server.url}/v1/models/{COLOUR}/predict", content=body).json()["predictions"]
    return [next(entry["probability"] for entry in answer if entry["label"] == label) for label in LABELS]


def test_triton_s_client_finds_the_server_and_its_models_live_and_ready(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(COLOUR)
    assert client.is_model_ready(COLOUR, "1")
    assert not client.is_model_ready("dogs")
    assert not client.is_model_ready(COLOUR, "7")


def test_triton_s_client_reads_metadata_configuration_and_repository(client: triton.InferenceServerClient) -> None:
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    about = client.get_model_metadata(COLOUR)
    assert about["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 8, 8, 3]}]
    assert json.loads(about["properties"]["labels"]) == LABELS
    config = client.get_model_config(COLOUR, "1")
    assert (config["max_batch_size"], config["input"][0]["format"]) == (64, "FORMAT_NHWC")
    states = {(entry["name"], entry["version"]): entry["state"] for entry in client.get_model_repository_index()}
    assert states == {(COLOUR, "1"): "READY", (COLOUR, "2"): "READY", (GREY, "1"): "READY"}


@pytest.mark.parametrize("binary_out", [True, False], ids=["raw answer", "JSON answer"])
@pytest.mark.parametrize("binary_in", [True, False], ids=["raw", "JSON"])
@pytest.mark.parametrize("datatype", ["UINT8", "FP32"])
def test_triton_s_client_gets_the_probabilities_of_pixels(
    client: triton.InferenceServerClient, offline: LoadedModel, datatype: str, binary_in: bool, binary_out: bool
) -> None:
    images = PIXELS if datatype == "UINT8" else PIXELS.astype(np.float32)
    outputs = [triton.InferRequestedOutput("probabilities", binary_data=binary_out)]
    result = client.infer(COLOUR, image_input(images, datatype, binary_in), outputs=outputs, request_id="7")
    assert result.get_response()["id"] == "7"
    np.testing.assert_allclose(result.as_numpy("probabilities"), offline.engine.infer(PIXELS), atol=1e-5)


@pytest.mark.parametrize("columns", [(), (1,)], ids=["n", "n x 1"])
def test_triton_s_client_gets_the_probabilities_of_image_files(
    client: triton.InferenceServerClient, offline: LoadedModel, columns: tuple[int, ...]
) -> None:
    bodies = [jpeg(40 + 90 * seed, 30 + 50 * seed, seed) for seed in range(5)]
    result = client.infer(COLOUR, image_input(files(*bodies).reshape(5, *columns), "BYTES"))
    np.testing.assert_allclose(result.as_numpy("probabilities"), offline.classify(bodies), atol=1e-5)


def test_triton_s_client_can_write_files_as_base64_in_json(
    client: triton.InferenceServerClient, offline: LoadedModel
) -> None:
    text = files(base64.b64encode(jpeg()))
    result = client.infer(COLOUR, image_input(text, "BYTES", binary=False))
    np.testing.assert_allclose(result.as_numpy("probabilities"), offline.classify([jpeg()]), atol=1e-5)


def test_triton_s_client_asks_the_version_that_it_names(client: triton.InferenceServerClient, server: Server) -> None:
    rows = {}
    for version in ("1", "2", ""):
        result = client.infer(COLOUR, image_input(PIXELS, "UINT8"), model_version=version)
        assert result.get_response()["model_version"] == (version or "2")
        rows[version] = result.as_numpy("probabilities")
    np.testing.assert_allclose(rows[""], rows["2"], atol=1e-5)
    assert np.abs(rows["1"] - rows["2"]).max() > 0.01


@pytest.mark.parametrize("binary", [True, False], ids=["raw", "JSON"])
def test_triton_s_client_gets_classes(client: triton.InferenceServerClient, offline: LoadedModel, binary: bool) -> None:
    outputs = [triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=2)]
    got = client.infer(COLOUR, image_input(PIXELS, "UINT8"), outputs=outputs).as_numpy("probabilities")
    assert got.shape == (5, 2)
    for texts, row in zip(got, offline.engine.infer(PIXELS), strict=True):
        first, second = (text.decode() if isinstance(text, bytes) else text for text in texts)
        value, column, label = first.split(":")
        assert (int(column), label) == (int(row.argmax()), LABELS[int(row.argmax())])
        assert float(value) == pytest.approx(row.max(), abs=1e-5)
        assert float(second.split(":")[0]) <= float(value)


@pytest.mark.parametrize("asked", ["gzip", "deflate", None])
@pytest.mark.parametrize("sent", ["gzip", "deflate", None])
def test_triton_s_client_may_compress_both_ways(
    client: triton.InferenceServerClient, offline: LoadedModel, sent: str | None, asked: str | None
) -> None:
    many = np.tile(PIXELS, (12, 1, 1, 1))
    for binary in (True, False):
        result = client.infer(
            COLOUR,
            image_input(many, "UINT8", binary),
            outputs=[triton.InferRequestedOutput("probabilities", binary_data=binary)],
            request_compression_algorithm=sent,
            response_compression_algorithm=asked,
        )
        expected = np.tile(offline.engine.infer(PIXELS), (12, 1))
        np.testing.assert_allclose(result.as_numpy("probabilities"), expected, atol=1e-5)


def test_a_long_answer_is_compressed_on_the_wire(server: Server) -> None:
    tensor = {"name": "image", "datatype": "UINT8", "shape": [64, 8, 8, 3], "data": [0] * (64 * 192)}
    for asked, got in (("gzip", "gzip"), ("deflate", "deflate"), ("identity", None)):
        answer = httpx.post(
            f"{server.url}/v2/models/{COLOUR}/infer", json={"inputs": [tensor]}, headers={"accept-encoding": asked}
        )
        assert answer.headers.get("content-encoding") == got
        assert answer.json()["outputs"][0]["shape"] == [64, 3]


def test_triton_s_client_may_ask_many_things_at_once(server: Server, offline: LoadedModel) -> None:
    with triton.InferenceServerClient(server.url.removeprefix("http://"), concurrency=8) as client:
        asked = [client.async_infer(COLOUR, image_input(PIXELS[i % 5][None], "UINT8")) for i in range(40)]
        rows = np.concatenate([one.get_result().as_numpy("probabilities") for one in asked])
    np.testing.assert_allclose(rows, np.tile(offline.engine.infer(PIXELS), (8, 1)), atol=1e-5)


def test_triton_s_client_sees_the_work_in_the_statistics(client: triton.InferenceServerClient) -> None:
    def now() -> Any:
        (entry,) = client.get_inference_statistics(COLOUR, "1")["model_stats"]
        return entry

    before = now()
    client.infer(COLOUR, image_input(PIXELS, "UINT8"), model_version="1")
    after = now()
    assert after["inference_count"] - before["inference_count"] == 5
    assert 1 <= after["execution_count"] - before["execution_count"] <= 5
    assert after["last_inference"] >= before["last_inference"] > 1_600_000_000_000
    for step in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        was, is_now = before["inference_stats"][step], after["inference_stats"][step]
        assert is_now["count"] - was["count"] == 5, step
        assert 0 < is_now["ns"] - was["ns"] < 10e9, step
    everything = client.get_inference_statistics()["model_stats"]
    assert [(entry["name"], entry["version"]) for entry in everything] == [(COLOUR, "1"), (COLOUR, "2"), (GREY, "1")]


@pytest.mark.parametrize(
    ("model", "inputs", "status", "said"),
    [
        ("dogs", image_input(PIXELS, "UINT8"), "404", COLOUR),
        (COLOUR, image_input(PIXELS[:, :4], "UINT8"), "400", "[n, 8, 8, 3]"),
        (COLOUR, image_input(PIXELS.astype(np.float64), "FP64"), "400", "UINT8, FP32 or BYTES"),
        (COLOUR, image_input(files(jpeg(), TEXT), "BYTES"), "415", "image 1: expected a JPEG"),
        (COLOUR, image_input(np.tile(PIXELS, (20, 1, 1, 1)), "UINT8"), "413", "at most 64 images"),
    ],
    ids=["unknown model", "shape", "datatype", "no image", "too many"],
)
def test_triton_s_client_reads_what_is_wrong(
    client: triton.InferenceServerClient, model: str, inputs: Any, status: str, said: str
) -> None:
    with pytest.raises(InferenceServerException) as refused:
        client.infer(model, inputs)
    assert refused.value.status() == status
    assert said in refused.value.message()


def test_one_image_gets_the_same_probabilities_as_on_v1(server: Server, client: triton.InferenceServerClient) -> None:
    pixels = PIXELS[:1]
    file = png(pixels[0])
    expected = through_v1(server, file)
    for inputs in (
        image_input(pixels, "UINT8"),
        image_input(pixels, "UINT8", binary=False),
        image_input(pixels.astype(np.float32), "FP32"),
        image_input(pixels.astype(np.float32), "FP32", binary=False),
        image_input(files(file), "BYTES"),
        image_input(files(base64.b64encode(file)), "BYTES", binary=False),
    ):
        np.testing.assert_allclose(client.infer(COLOUR, inputs).as_numpy("probabilities")[0], expected, atol=1e-5)


def test_curl_may_send_a_bare_image(server: Server) -> None:
    body = jpeg(300, 200)
    headers = {"Inference-Header-Content-Length": "0"}
    answer = httpx.post(f"{server.url}/v2/models/{COLOUR}/infer", content=body, headers=headers)
    raw = answer.content[int(answer.headers["inference-header-content-length"]) :]
    np.testing.assert_allclose(np.frombuffer(raw, "<f4"), through_v1(server, body), atol=1e-5)


# KServe's package keeps protobuf, psutil and python-dateutil below the versions locked here, so it needs an environment
# of its own. `.ci/run` makes one from requirements/kserve.txt.
KSERVE_PYTHON = os.environ.get("KSERVE_PYTHON", "")

ASK_WITH_KSERVE = """
import asyncio, base64, json, sys
import numpy as np
from httpx import HTTPStatusError
from kserve import InferInput, InferRequest, InferenceRESTClient, RESTConfig

url, model, file, pixels = sys.argv[1], sys.argv[2], base64.b64decode(sys.argv[3]), np.array(json.loads(sys.argv[4]))


def image(array, datatype, binary):
    tensor = InferInput("image", list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


async def ask():
    client, got = InferenceRESTClient(RESTConfig(protocol="v2", retries=0)), {}
    got["live"] = await client.is_server_live(url)
    got["ready"] = await client.is_server_ready(url)
    got["model ready"] = await client.is_model_ready(url, model)
    got["unknown model ready"] = await client.is_model_ready(url, "dogs")
    base64_file = np.array([base64.b64encode(file)], np.object_)
    inputs = {
        "UINT8 raw": image(pixels.astype(np.uint8), "UINT8", True),
        "UINT8 JSON": image(pixels.astype(np.uint8), "UINT8", False),
        "FP32 raw": image(pixels.astype(np.float32), "FP32", True),
        "FP32 JSON": image(pixels.astype(np.float32), "FP32", False),
        "file raw": image(np.array([file], np.object_), "BYTES", True),
        "file base64": image(base64_file, "BYTES", False),
    }
    got["probabilities"] = {}
    for name, tensor in inputs.items():
        for binary in (False, True):
            asked = InferRequest(model, [tensor], request_id="7", parameters={"binary_data_output": binary})
            answer = await client.infer(url, asked, model_name=model)
            assert (answer.id, answer.model_name) == ("7", model)
            output = answer.get_output_by_name("probabilities")
            got["probabilities"][f"{name}, binary answer: {binary}"] = output.as_numpy().tolist()
    many = InferRequest(model, [image(np.tile(pixels, (50, 1, 1, 1)).astype(np.uint8), "UINT8", True)])
    got["50 images"] = (await client.infer(url, many, model_name=model)).outputs[0].shape
    try:
        await client.infer(url, InferRequest(model, [image(pixels, "INT64", True)]), model_name=model)
    except HTTPStatusError as refused:
        got["refused"] = str(refused)
    await client.close()
    print(json.dumps(got))


asyncio.run(ask())
"""


def test_kserve_s_client_gets_the_same_probabilities_as_on_v1(server: Server) -> None:
    if not KSERVE_PYTHON:
        pytest.skip("KSERVE_PYTHON names no Python that has kserve, which cannot share our locked versions")
    file = png(PIXELS[0])
    arguments = [server.url, COLOUR, base64.b64encode(file).decode(), json.dumps(PIXELS[:1].tolist())]
    done = subprocess.run(
        [KSERVE_PYTHON, "-c", ASK_WITH_KSERVE, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout.splitlines()[-1])
    assert (got["live"], got["ready"], got["model ready"], got["unknown model ready"]) == (True, True, True, False)
    assert len(got["probabilities"]) == 12
    for form, row in got["probabilities"].items():
        np.testing.assert_allclose(row, [through_v1(server, file)], atol=1e-5, err_msg=form)
    assert got["50 images"] == [50, 3]
    assert "UINT8, FP32 or BYTES, not 'INT64'" in got["refused"]
