"""The Python client against the real server, and against one that breaks connections."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from service.client import (
    AsyncClient,
    Client,
    ClientError,
    ConnectionFailed,
    NotAnImage,
    Predictions,
    TimedOut,
    TooLarge,
    Unauthorized,
    UndecodableImage,
    UnknownModel,
)
from tests.e2e.servers import ROOT, Server, free_port, serving
from tests.service.pictures import TEXT, jpeg, truncated
from tests.tiny_models import COLOUR, GREY

pytestmark = pytest.mark.e2e


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


def picture() -> Image.Image:
    return Image.open(io.BytesIO(jpeg(60, 40))).convert("RGB")


def png() -> bytes:
    out = io.BytesIO()
    picture().save(out, "PNG")
    return out.getvalue()


def by_label(predictions: Predictions) -> dict[str, float]:
    return dict(predictions.predictions)


def raw_http(server: Server, body: bytes, model: str = COLOUR) -> Any:
    """What curl would get, by label, to compare with."""
    answer = httpx.post(f"{server.url}/v1/models/{model}/predict", content=body).json()
    return pytest.approx({entry["label"]: entry["probability"] for entry in answer["predictions"]}, abs=1e-5)


@pytest.mark.parametrize(
    "given",
    [
        lambda folder: folder / "cat.png",
        lambda folder: str(folder / "cat.png"),
        lambda _: png(),
        lambda _: picture(),
        lambda _: np.asarray(picture()),
    ],
    ids=["path", "text path", "bytes", "picture", "array"],
)
def test_every_way_to_give_an_image_gives_the_same_numbers(
    server: Server, client: Client, tmp_path: Path, given: Callable[[Path], Any]
) -> None:
    (tmp_path / "cat.png").write_bytes(png())
    assert by_label(client.predict(COLOUR, given(tmp_path))) == raw_http(server, png())


def test_grey_pixels_reach_a_grey_network(server: Server, client: Client) -> None:
    grey = picture().convert("L")
    out = io.BytesIO()
    grey.save(out, "PNG")
    for image in (grey, np.asarray(grey), np.asarray(grey)[..., None]):
        assert by_label(client.predict(GREY, image)) == raw_http(server, out.getvalue(), GREY)


def test_version_and_top_k_are_obeyed(client: Client) -> None:
    answer = client.predict(COLOUR, jpeg(), version=1, top_k=2)
    assert (answer.model, answer.version, len(answer.predictions)) == (COLOUR, 1, 2)
    assert client.predict(COLOUR, jpeg()).version == 2


@pytest.mark.parametrize(
    ("model", "image", "kind", "status", "says"),
    [
        ("horses", jpeg(), UnknownModel, 404, COLOUR),
        (COLOUR, TEXT, NotAnImage, 415, "JPEG"),
        (COLOUR, truncated(jpeg(300, 200)), UndecodableImage, 422, "damaged"),
        (COLOUR, bytes(10_000_001), TooLarge, 413, "10,000,000"),
    ],
    ids=["model", "text", "truncated", "large"],
)
def test_refusals_have_their_type_and_say_what_is_wrong(
    client: Client, model: str, image: bytes, kind: type[ClientError], status: int, says: str
) -> None:
    with pytest.raises(kind, match=says) as refused:
        client.predict(model, image)
    assert refused.value.status == status


def test_models_are_listed_and_described(client: Client) -> None:
    assert client.ready()
    assert [(model.name, model.versions, model.ready) for model in client.models()] == [
        (COLOUR, (1, 2), True),
        (GREY, (1,), True),
    ]
    about = client.model(COLOUR, 1)
    assert (about.version, about.labels) == (1, ("red", "green", "blue"))
    assert about.about["input"]["height"] == 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty pictures and, as number 20, a text that claims to be one."""
    folder = tmp_path_factory.mktemp("photos")
    for n in range(60):
        (folder / f"{n:02}.jpg").write_bytes(TEXT if n == 20 else jpeg(20 + 3 * n, 30, seed=n))
    return folder


def test_a_folder_is_streamed_in_order_around_a_bad_image(server: Server, client: Client, folder: Path) -> None:
    answers = list(client.predict_many(COLOUR, folder))
    assert [answered.image for answered in answers] == sorted(folder.iterdir())
    assert isinstance(answers.pop(20).result, NotAnImage)
    for path, result in answers:
        assert isinstance(result, Predictions)
        assert isinstance(path, Path)
        assert by_label(result) == raw_http(server, path.read_bytes())


def test_asyncio_gets_the_same_answers(server: Server, client: Client, folder: Path) -> None:
    async def ask() -> list[Any]:
        async with AsyncClient(server.url) as asynchronous:
            assert await asynchronous.ready()
            with pytest.raises(UnknownModel):
                await asynchronous.predict("horses", picture())
            return [result async for _, result in asynchronous.predict_many(COLOUR, folder)]

    for here, there in zip(asyncio.run(ask()), client.predict_many(COLOUR, folder), strict=True):
        assert type(here) is type(there.result)
        if isinstance(here, Predictions):
            assert by_label(here) == pytest.approx(by_label(there.predictions), abs=1e-5)


def test_a_server_with_other_limits_gets_its_images_one_by_one(
    tiny_models_root: Path, tmp_path: Path, folder: Path
) -> None:
    environ = {"SIGHTLINE_MODELS": str(tiny_models_root), "SIGHTLINE_MAX_IMAGES": "3"}
    with (
        serving(tmp_path, environ=environ) as server,
        Client(server.url, retry_s=60, timeout_s=60) as client,
    ):
        assert client.predict(COLOUR, jpeg()).version == 2
        answers = list(client.predict_many(COLOUR, folder, top_k=1))
    assert [answered.image for answered in answers] == sorted(folder.iterdir())
    kinds = [type(result) for _, result in answers]
    assert kinds == [Predictions] * 20 + [NotAnImage] + [Predictions] * 39


def run(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service.client", server.url, COLOUR, *arguments]
    return subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_the_command_line_classifies_a_folder(server: Server, folder: Path) -> None:
    done = run(server, str(folder), "--json", "--top-k", "1")
    assert done.returncode == 1, done.stderr
    answers = json.loads(done.stdout)
    assert len(answers) == 60
    assert answers[20]["error"]["code"] == "not-an-image"
    assert all(len(answer["predictions"]) == 1 for answer in answers if "error" not in answer)
    shown = run(server, str(folder / "00.jpg"))
    assert (shown.returncode, shown.stdout.splitlines()[0]) == (0, str(folder / "00.jpg"))
    assert len(shown.stdout.splitlines()) == 4


def test_a_server_that_is_not_there_is_named() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url, retries=1) as client:
        assert not client.ready()
        with pytest.raises(ConnectionFailed, match=f"{url} cannot be reached: .*refused"):
            client.predict(COLOUR, jpeg())


def test_a_client_waits_while_the_server_starts_and_shows_its_key(tiny_models_root: Path, tmp_path: Path) -> None:
    environ = {"SIGHTLINE_MODELS": str(tiny_models_root), "SIGHTLINE_API_KEYS": "key-of-the-tests"}
    with (
        serving(tmp_path, environ=environ) as server,
        Client(server.url, api_key="key-of-the-tests", retry_s=60, timeout_s=60) as client,
        Client(server.url) as stranger,
    ):
        assert client.predict(COLOUR, jpeg()).version == 2
        with pytest.raises(Unauthorized, match="API key") as refused:
            stranger.predict(COLOUR, jpeg())
        assert refused.value.request_id


ANSWER = b'{"model": "m", "version": 1, "predictions": [{"label": "cat", "probability": 1.0}]}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)


class Fickle:
    """A server that answers each connection's first request and breaks it at the second, after it was sent."""

    def __init__(self, listener: socket.socket) -> None:
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.connections = 0
        self._listener = listener

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                if self._read_request(connection):
                    connection.sendall(HEAD + ANSWER)
                    self._read_request(connection)

    @staticmethod
    def _read_request(connection: socket.socket) -> bool:
        received = b""
        while not received.endswith(b"\r\n\r\njpeg"):
            if not (chunk := connection.recv(65536)):
                return False
            received += chunk
        return True


@contextmanager
def fickle_server() -> Iterator[Fickle]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Fickle(listener)
        thread = threading.Thread(target=server.serve)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_connection_that_is_closed_as_it_is_used_again_is_replaced() -> None:
    with fickle_server() as server, Client(server.url, retries=0) as client:
        for _ in range(4):
            assert client.predict("m", b"jpeg").top.label == "cat"
        assert server.connections == 4


def test_asyncio_replaces_a_broken_connection_too() -> None:
    async def ask(url: str) -> list[str]:
        async with AsyncClient(url, retries=0) as client:
            return [(await client.predict("m", b"jpeg")).top.label for _ in range(4)]

    with fickle_server() as server:
        assert asyncio.run(ask(server.url)) == ["cat"] * 4


def test_connections_are_used_again(server: Server) -> None:
    opened: list[str] = []

    class Counting(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            request.extensions["trace"] = lambda event, _: opened.append(event) if "connect_tcp.started" in event else 0
            return super().handle_request(request)

    with Client(server.url, transport=Counting()) as client:
        assert len(list(client.predict_many(COLOUR, [jpeg()] * 100, concurrency=4))) == 100
    assert 1 <= len(opened) <= 4


def test_a_server_that_never_answers_times_out() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        Client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2) as client,
        pytest.raises(TimedOut, match=r"did not answer within 0\.2 s"),
    ):
        client.predict("m", b"jpeg")
