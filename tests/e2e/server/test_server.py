"""The server as BentoML runs it, over real sockets."""

from __future__ import annotations

import http.server
import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from classifier.engines import EngineOptions
from classifier.loaded_model import LoadedModel
from classifier.store import ModelStore
from tests.e2e.servers import LIBRARY, Server, serving, wait_until
from tests.service.pictures import TEXT, jpeg, slow_to_decode, truncated
from tests.tiny_models import COLOUR, GREY

pytestmark = pytest.mark.e2e

PREDICT = f"/v1/models/{COLOUR}/predict"


@pytest.fixture(scope="module")
def offline(tiny_models_root: Path) -> Iterator[LoadedModel]:
    options = EngineOptions(engine="openvino", precision="float32")
    model = LoadedModel.open(ModelStore(tiny_models_root), COLOUR, options=options)
    yield model
    model.close()


def by_label(answer: dict[str, Any]) -> dict[str, float]:
    return {entry["label"]: entry["probability"] for entry in answer["predictions"]}


def expected(model: LoadedModel, body: bytes) -> Any:
    return pytest.approx(dict(model.predict(body)), abs=1e-5)


def test_the_answers_over_http_are_those_of_the_command_line(server: Server, offline: LoadedModel) -> None:
    bodies = [jpeg(40 + 90 * n, 30 + 50 * n, seed=n) for n in range(12)]
    with httpx.Client(base_url=server.url) as client, ThreadPoolExecutor(6) as callers:
        answers = list(callers.map(lambda body: client.post(PREDICT, content=body).json(), bodies))
    for answer, body in zip(answers, bodies, strict=True):
        assert by_label(answer) == expected(offline, body)


def test_a_pickle_is_refused_without_a_traceback(server: Server) -> None:
    logged_before = server.log.stat().st_size
    headers = {"content-type": "application/vnd.bentoml+pickle"}
    answer = httpx.post(f"{server.url}/classify", content=b"\x80\x05.", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported-media-type")
    assert "expected a multipart/form-data body, got application/vnd.bentoml+pickle" in answer.json()["detail"]
    httpx.get(f"{server.url}/livez")
    logged = server.log.read_bytes()[logged_before:]
    assert b"rejected 415 unsupported-media-type" in logged
    assert b"Traceback" not in logged


def test_a_batch_with_bad_images_answers_the_good_ones(server: Server, offline: LoadedModel) -> None:
    good = jpeg(300, 200)
    files = [("images", good), ("images", TEXT), ("images", truncated(good))]
    results = httpx.post(f"{server.url}/v1/models/{COLOUR}/predict-batch", files=files).json()["results"]
    assert by_label(results[0]) == expected(offline, good)
    assert [result["error"]["code"] for result in results[1:]] == ["not-an-image", "undecodable-image"]


ASK_WITH_BENTOML = """
import json, pathlib, sys, bentoml
url, picture, arguments = sys.argv[1:]
with bentoml.SyncHTTPClient(url) as client:
    try:
        answer = client.classify(image=pathlib.Path(picture), **json.loads(arguments))
    except bentoml.exceptions.BentoMLException as refused:
        answer = {"status": refused.error_code, "problem": json.loads(str(refused))}
print(json.dumps(answer))
"""


def ask_with_bentoml(server: Server, picture: Path, **arguments: Any) -> Any:
    """What BentoML's client gets; in its own process, because importing bentoml warns of its own old dependencies."""
    command = [sys.executable, "-c", ASK_WITH_BENTOML, server.url, str(picture), json.dumps(arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)


def test_bentoml_s_own_client_gets_the_same_answers(server: Server, offline: LoadedModel, tmp_path: Path) -> None:
    picture = tmp_path / "cat.jpg"
    picture.write_bytes(jpeg(200, 100))
    answer = ask_with_bentoml(server, picture, model=COLOUR)
    assert by_label(answer) == expected(offline, picture.read_bytes())
    oldest = ask_with_bentoml(server, picture, model=COLOUR, version=1, top_k=1)
    assert (oldest["version"], len(oldest["predictions"])) == (1, 1)


def test_bentoml_s_own_client_reads_what_is_wrong(server: Server, tmp_path: Path) -> None:
    text = tmp_path / "cat.jpg"
    text.write_bytes(TEXT)
    refused = ask_with_bentoml(server, text, model=COLOUR)
    assert (refused["status"], refused["problem"]["code"]) == (415, "not-an-image")


@pytest.fixture
def tempting() -> Iterator[tuple[str, list[str]]]:
    """A web server that a client may name, and the paths that were fetched from it."""
    fetched: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fetched.append(self.path)
            self.send_error(404)

        def log_message(self, *_: Any) -> None: ...

    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{web.server_port}/cat.jpg", fetched
    web.shutdown()
    web.server_close()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/classify", lambda url: {"data": {"image": url, "model": COLOUR}, "files": {"x": b""}}),
        ("/classify", lambda url: {"data": {"image": url, "model": COLOUR}}),
        ("/classify", lambda url: {"json": {"image": url, "model": COLOUR}}),
        ("/classify", lambda url: {"content": url}),
        (PREDICT, lambda url: {"data": {"image": url}, "files": {"x": b""}}),
        (PREDICT, lambda url: {"json": {"image": url}}),
        (PREDICT, lambda url: {"content": url}),
    ],
    ids=["form", "urlencoded", "json", "raw", "predict form", "predict json", "predict raw"],
)
def test_a_url_that_a_client_names_is_never_fetched(
    server: Server, tempting: tuple[str, list[str]], path: str, body: Any
) -> None:
    url, fetched = tempting
    answer = httpx.post(server.url + path, **body(url))
    assert answer.status_code in (400, 415)
    assert fetched == []


def test_a_body_that_is_too_large_is_refused_on_every_route(server: Server) -> None:
    large = {"image": ("cat.jpg", bytes(10_000_001))}
    for path, data in ((PREDICT, {}), ("/classify", {"model": COLOUR})):
        assert httpx.post(server.url + path, files=large, data=data).status_code == 413


def test_bentoml_s_own_paths_still_answer(server: Server) -> None:
    for path in ("/livez", "/readyz", "/healthz", "/metrics", "/docs.json", "/schema.json", "/"):
        assert httpx.get(server.url + path).status_code == 200, path
    assert "Sightline" in httpx.get(server.url).text


def test_unknown_paths_and_methods_under_v1_are_problems(server: Server) -> None:
    for answer in (httpx.get(f"{server.url}/v1/nothing"), httpx.get(server.url + PREDICT)):
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.status_code == answer.json()["status"]


def test_requests_are_counted_under_the_template_of_their_route(server: Server) -> None:
    template = 'endpoint="/v1/models/{model}/predict"'
    httpx.post(server.url + PREDICT, content=jpeg())
    counted = [line for line in httpx.get(f"{server.url}/metrics").text.splitlines() if template in line]
    assert any(line.startswith("bentoml_service_request_total") for line in counted)
    assert any('le="0.0005"' in line for line in counted)


def test_no_process_of_the_server_has_tensorflow_in_memory(server: Server) -> None:
    processes = server.process_ids()
    assert len(processes) >= 2
    mapped = {pid: Path(f"/proc/{pid}/maps").read_text() for pid in processes}
    assert any(LIBRARY in maps for maps in mapped.values())
    for pid, maps in mapped.items():
        assert not [name for name in ("libtensorflow", "_pywrap_tensorflow") if name in maps], pid


def test_callers_who_hang_up_are_given_up_and_do_not_disturb_the_rest(server: Server, offline: LoadedModel) -> None:
    slow, body = slow_to_decode(), jpeg(900, 700)
    address = httpx.URL(server.url)
    for _ in range(10):
        with socket.create_connection((address.host, address.port or 80)) as caller:
            head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(slow)}\r\n\r\n"
            caller.sendall(head.encode() + slow)
    assert by_label(httpx.post(server.url + PREDICT, content=body).json()) == expected(offline, body)
    wait_until(server, "/metrics", 200, 'http_response_code="499"')
    log = server.log.read_text()
    assert "Traceback" not in log, log


def test_a_broken_version_is_named_and_the_last_sound_one_answers(tiny_models_root: Path, tmp_path: Path) -> None:
    models = Path(shutil.copytree(tiny_models_root, tmp_path / "models"))
    (models / COLOUR / "2" / "model.onnx").write_bytes(b"no network")
    with serving(tmp_path / "bentoml", environ={"SIGHTLINE_MODELS": str(models)}) as server:
        wait_until(server, "/readyz", 200, f"{COLOUR} version 2: The model's files do not match its card")
        assert httpx.get(f"{server.url}/livez").status_code == 200
        assert httpx.post(f"{server.url}/v1/models/{GREY}/predict", content=jpeg()).status_code == 200
        assert httpx.post(server.url + PREDICT, content=jpeg()).json()["version"] == 1
        newest = httpx.post(f"{server.url}/v1/models/{COLOUR}/versions/2/predict", content=jpeg())
        assert newest.json()["code"] == "model-not-served"


def test_a_model_without_a_sound_version_keeps_the_server_from_being_ready_but_not_from_serving(
    tiny_models_root: Path, tmp_path: Path
) -> None:
    models = Path(shutil.copytree(tiny_models_root, tmp_path / "models"))
    (models / GREY / "1" / "model.onnx").write_bytes(b"no network")
    with serving(tmp_path / "bentoml", environ={"SIGHTLINE_MODELS": str(models)}) as server:
        reason = wait_until(server, "/readyz", 503, f"{GREY} version 1: The model's files do not match its card")
        assert reason.headers["retry-after"] == "1"
        assert httpx.post(server.url + PREDICT, content=jpeg()).json()["version"] == 2


def test_an_upload_that_stalls_is_named_as_that_and_not_as_a_busy_server(
    tiny_models_root: Path, tmp_path: Path
) -> None:
    environ = {
        "SIGHTLINE_MODELS": str(tiny_models_root),
        "SIGHTLINE_REQUEST_TIMEOUT_MS": "300",
        "SIGHTLINE_UPLOAD_STALL_MS": "600",
    }
    with serving(tmp_path, environ=environ) as server:
        wait_until(server, "/readyz", 200)
        address = httpx.URL(server.url)
        with socket.create_connection((address.host, address.port or 80), timeout=10) as caller:
            head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 100\r\n\r\n"
            caller.sendall(head.encode() + b"only a part")
            answer = b"".join(iter(lambda: caller.recv(4096), b"")).decode()
        assert answer.startswith("HTTP/1.1 408")
        assert '"code":"upload-too-slow"' in answer
        assert "no byte came for 0.6 s; 11 of 100 bytes came" in answer


def test_sigterm_ends_every_process(tiny_models_root: Path, tmp_path: Path) -> None:
    with serving(tmp_path, environ={"SIGHTLINE_MODELS": str(tiny_models_root)}) as server:
        wait_until(server, "/readyz", 200)
        processes = server.process_ids()
        server.stop()
        assert not [pid for pid in processes if Path(f"/proc/{pid}").exists()]
        assert "Completed async cleanup hook: close_models" in server.log.read_text()


def test_a_wrong_setting_ends_the_server_with_one_line(tmp_path: Path) -> None:
    with serving(tmp_path, environ={"SIGHTLINE_MAX_BTCH": "8"}) as server:
        assert server.process.wait(30) != 0
        assert server.log.read_text().startswith("sightline: no setting SIGHTLINE_MAX_BTCH; there is ")
