"""One batch, many callers: what is wrong with one image or one caller is nobody else's trouble."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from classifier.engines import EngineOptions
from classifier.loaded_model import LoadedModel
from classifier.store import ModelStore
from tests.e2e.servers import Server, serving, wait_until
from tests.service.pictures import jpeg, of_one_colour, truncated
from tests.tiny_models import save_tiny_model

pytestmark = pytest.mark.e2e

BRITTLE, SLOW = "brittle", "slow"
LABELS = ("a", "b", "c")


def brittle_network() -> Any:
    """Divides by the brightest value, as somebody may who never met a black picture: its probabilities are NaN."""
    import keras

    pixels = keras.Input((8, 8, 3), dtype="uint8", name="pixels")
    x = keras.layers.Rescaling(1.0)(pixels)
    x = keras.layers.Flatten()(x / keras.ops.max(x, axis=(1, 2, 3), keepdims=True))
    return keras.Model(pixels, keras.layers.Dense(len(LABELS), activation="softmax")(x))


def slow_network() -> Any:
    """Some hundred million multiplications an image."""
    import keras

    pixels = keras.Input((64, 64, 3), dtype="uint8", name="pixels")
    x = keras.layers.Rescaling(1 / 255)(pixels)
    for _ in range(6):
        x = keras.layers.Conv2D(64, 3, padding="same", activation="relu", kernel_initializer="he_normal")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, keras.layers.Dense(len(LABELS), activation="softmax")(x))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    models = ModelStore(tmp_path_factory.mktemp("own") / "models")
    save_tiny_model(models, BRITTLE, LABELS, (8, 8, 3), network=brittle_network())
    save_tiny_model(models, SLOW, LABELS, (64, 64, 3), network=slow_network())
    return models


@pytest.fixture(scope="module")
def server(models: ModelStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    fixed = {"SIGHTLINE_PRECISION": "float32", "SIGHTLINE_STREAMS": "1", "SIGHTLINE_MAX_BATCH": "16"}
    environ = {"SIGHTLINE_MODELS": str(models.root)} | fixed
    with serving(tmp_path_factory.mktemp("bentoml"), environ=environ) as server:
        wait_until(server, "/readyz", 200)
        yield server


def offline(models: ModelStore, name: str, bodies: list[bytes]) -> list[Any]:
    """What the predictor answers to each image alone, by label."""
    model = LoadedModel.open(models, name, options=EngineOptions(engine="openvino", precision="float32"))
    answers = [pytest.approx(dict(model.predict(body)), abs=1e-5) for body in bodies]
    model.close()
    return answers


def by_label(answer: Any) -> dict[str, float]:
    return {entry["label"]: entry["probability"] for entry in answer["predictions"]}


@pytest.mark.parametrize("at", [0, 13, 31], ids="as number {}".format)
@pytest.mark.parametrize(
    ("poison", "status", "code"),
    [(truncated(jpeg(300, 200)), 422, "undecodable-image"), (of_one_colour(30, 20, "black"), 500, "broken-forward")],
    ids=["does not decode", "makes the network give NaN"],
)
def test_a_poison_image_among_32_fails_alone(
    server: Server, models: ModelStore, poison: bytes, status: int, code: str, at: int
) -> None:
    good = [jpeg(40 + 5 * seed, 30, seed) for seed in range(31)]
    files = [("images", body) for body in [*good[:at], poison, *good[at:]]]
    answer = httpx.post(f"{server.url}/v1/models/{BRITTLE}/predict-batch", files=files, timeout=30)
    assert answer.status_code == 200, answer.text
    results = orjson.loads(answer.content)["results"]  # refuses NaN, which is no JSON
    error = results.pop(at)["error"]
    assert (error["status"], error["code"]) == (status, code)
    assert [by_label(result) for result in results] == offline(models, BRITTLE, good)


def test_the_network_still_answers_after_a_poison_image(server: Server, models: ModelStore) -> None:
    path = f"{server.url}/v1/models/{BRITTLE}/predict"
    assert httpx.post(path, content=of_one_colour(30, 20, "black")).json()["code"] == "broken-forward"
    assert [by_label(httpx.post(path, content=jpeg()).json())] == offline(models, BRITTLE, [jpeg()])


def images_computed(server: Server) -> tuple[int, int]:
    """Images and batches that the slow network has run."""
    (entry,) = httpx.get(f"{server.url}/v2/models/{SLOW}/stats").json()["model_stats"]
    return entry["inference_count"], entry["execution_count"]


def answers_while_every_second_hangs_up(server: Server, bodies: list[bytes]) -> list[bytes]:
    """Send images at once, have every second caller leave after the first batch, and read what the others get."""
    head = f"POST /v1/models/{SLOW}/predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: "
    batches, address = images_computed(server)[1], httpx.URL(server.url)
    callers = [socket.create_connection((address.host, address.port or 80), timeout=60) for _ in bodies]
    try:
        for caller, body in zip(callers, bodies, strict=True):
            caller.sendall(f"{head}{len(body)}\r\n\r\n".encode() + body)
        until = time.monotonic() + 60
        while images_computed(server)[1] == batches and time.monotonic() < until:
            time.sleep(0.005)  # until the first batch is done; then all others are in the second
        for caller in callers[1::2]:
            caller.close()
        return [b"".join(iter(lambda: caller.recv(65536), b"")) for caller in callers[::2]]  # noqa: B023
    finally:
        for caller in callers:
            caller.close()


def test_callers_who_hang_up_in_mid_batch_do_not_disturb_the_rest(server: Server, models: ModelStore) -> None:
    bodies = [jpeg(64, 64, seed) for seed in range(16)]
    wanted = offline(models, SLOW, bodies[::2])
    before, logged = images_computed(server), server.log.stat().st_size
    until, hung_up = time.monotonic() + 60, False
    while not hung_up:  # on a busy machine the second batch may be done before anybody has left
        assert time.monotonic() < until, "nobody was in a batch when they hung up"
        for answer, expected in zip(answers_while_every_second_hangs_up(server, bodies), wanted, strict=True):
            assert answer.startswith(b"HTTP/1.1 200"), answer
            assert by_label(httpx.Response(200, content=answer.partition(b"\r\n\r\n")[2]).json()) == expected
        hung_up = 'http_response_code="499"' in httpx.get(f"{server.url}/metrics").text
    images, batches = images_computed(server)
    assert batches - before[1] >= 2
    assert images - before[0] > 8
    assert b"Traceback" not in server.log.read_bytes()[logged:]
