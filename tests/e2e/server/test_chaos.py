"""Signals, kills, floods and slow callers: who was accepted is answered, and everybody else is refused in words."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.servers import ROOT, Server, serving, wait_until
from tests.service.pictures import jpeg, slow_to_decode
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.e2e

PREDICT = f"/v1/models/{COLOUR}/predict"


@contextmanager
def ready_server(models: Path, home: Path, **settings: str) -> Iterator[Server]:
    environ = {"SIGHTLINE_MODELS": str(models)} | {f"SIGHTLINE_{name}": text for name, text in settings.items()}
    with serving(home, environ=environ) as server:
        wait_until(server, "/readyz", 200)
        yield server


def connected(server: Server, *parts: bytes) -> socket.socket:
    """A connection on which these bytes have been sent."""
    address = httpx.URL(server.url)
    caller = socket.create_connection((address.host, address.port or 80), timeout=20)
    for part in parts:
        caller.sendall(part)
    return caller


def head(length: int, *more: str) -> bytes:
    lines = [f"POST {PREDICT} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *more, "", ""]
    return "\r\n".join(lines).encode()


def rest_of(caller: socket.socket) -> bytes:
    """Everything until the server closes."""
    return b"".join(iter(lambda: caller.recv(65536), b""))


def worker_of(server: Server) -> int:
    """The process that answers: the one below the supervisor that has OpenVINO in memory."""
    (worker,) = [pid for pid in server.process_ids()[1:] if "openvino" in Path(f"/proc/{pid}/maps").read_text()]
    return worker


def test_on_sigterm_routers_get_a_notice_then_callers_are_refused_and_accepted_work_is_finished(
    tiny_models_root: Path, tmp_path: Path
) -> None:
    body = jpeg()
    with ready_server(tiny_models_root, tmp_path, SHUTDOWN_NOTICE_MS="1500") as server:
        with connected(server, head(len(body)), body[:10]) as slow, httpx.Client(base_url=server.url) as client:
            time.sleep(0.2)  # the request has been accepted, its body has not come
            server.process.send_signal(signal.SIGTERM)
            notice = wait_until(server, "/readyz", 503, "shutting down", timeout_s=1.4)
            assert notice.headers["retry-after"] == "1"
            served = client.post(PREDICT, content=body)
            assert (served.status_code, served.headers["connection"]) == (200, "close")
            while (refused := client.post(PREDICT, content=body)).status_code == 200:  # until the notice is over
                time.sleep(0.05)
            assert (refused.status_code, refused.json()["code"]) == (503, "closing")
            assert refused.headers["retry-after"] == "1"
            assert refused.headers["connection"] == "close"
            assert client.get("/livez").status_code == 200
            slow.sendall(body[10:])
            assert rest_of(slow).startswith(b"HTTP/1.1 200")
        assert server.process.wait(10) is not None


def test_sigterm_waits_no_longer_than_set_and_answers_the_rest_with_503(tiny_models_root: Path, tmp_path: Path) -> None:
    with ready_server(tiny_models_root, tmp_path, SHUTDOWN_TIMEOUT_MS="500", UPLOAD_STALL_MS="20000") as server:
        with connected(server, head(1000), b"only a part") as stalled:
            time.sleep(0.2)
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            answer = rest_of(stalled)
            assert answer.startswith(b"HTTP/1.1 503")
            assert b'"code":"closing"' in answer
        server.process.wait(10)
        assert time.monotonic() - began < 8


def test_sigterm_under_load_loses_no_accepted_request(tiny_models_root: Path, tmp_path: Path) -> None:
    """Every answer is 200, or a 503 that says why; a connection breaks only when the server has gone."""
    notice_s = 0.5
    outcomes: Counter[str] = Counter()
    lost_at: list[float] = []

    def ask(seed: int) -> None:
        body = jpeg(200, 150, seed)
        with httpx.Client(base_url=server.url, timeout=20) as client:
            try:
                while server.process.poll() is None:
                    answer = client.post(PREDICT, content=body)
                    outcomes[answer.json().get("code", str(answer.status_code))] += 1
            except httpx.TransportError:
                lost_at.append(time.monotonic())

    with ready_server(tiny_models_root, tmp_path, SHUTDOWN_NOTICE_MS=f"{notice_s * 1000:g}") as server:
        with ThreadPoolExecutor(8) as callers:
            done = [callers.submit(ask, seed) for seed in range(8)]
            time.sleep(1)
            signalled_at = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(20)
        for future in done:
            future.result()
    assert set(outcomes) <= {"200", "closing"}
    assert outcomes["200"] > 20
    assert all(lost - signalled_at > notice_s for lost in lost_at)


def test_a_killed_worker_is_replaced(tiny_models_root: Path, tmp_path: Path) -> None:
    with ready_server(tiny_models_root, tmp_path) as server:
        killed = worker_of(server)
        os.kill(killed, signal.SIGKILL)
        wait_until(server, "/readyz", 200)
        assert worker_of(server) != killed
        assert httpx.post(server.url + PREDICT, content=jpeg()).status_code == 200
        said = f"the server's worker, process {killed}, ended unexpectedly with SIGKILL; another one is started"
        assert said in server.log.read_text()
        assert "sightline_worker_starts_total 2.0" in httpx.get(f"{server.url}/metrics").text


def test_a_worker_killed_under_load_is_replaced_and_no_answer_is_wrong(tiny_models_root: Path, tmp_path: Path) -> None:
    """A connection may break while there is no worker; what is answered is right, or a 503 that says why."""
    bodies = [jpeg(200, 150, seed) for seed in range(6)]
    wrong: list[str] = []
    good_at: list[float] = []
    stop = threading.Event()

    def ask(body: bytes) -> None:
        with httpx.Client(base_url=server.url, timeout=20) as client:
            expected = client.post(PREDICT, content=body).json()
            while not stop.is_set():
                try:
                    answer = client.post(PREDICT, content=body)
                except httpx.TransportError:
                    stop.wait(0.05)
                    continue
                if answer.status_code == 200 and answer.json()["predictions"] == same_as(expected):
                    good_at.append(time.monotonic())
                elif answer.status_code != 503:
                    wrong.append(answer.text)

    with ready_server(tiny_models_root, tmp_path) as server, ThreadPoolExecutor(6) as callers:
        done = [callers.submit(ask, body) for body in bodies]
        try:
            time.sleep(1)
            killed, killed_at = worker_of(server), time.monotonic()
            os.kill(killed, signal.SIGKILL)
            wait_until(server, "/readyz", 200)
            replaced_at = time.monotonic()
            time.sleep(1)
        finally:
            stop.set()
        for future in done:
            future.result()
        assert worker_of(server) != killed
    assert wrong == []
    assert min(good_at) < killed_at < replaced_at < max(good_at)


def same_as(answer: Any) -> Any:
    """Predictions as in another answer; the rest of a batch may change the last digits."""
    return [
        {"label": p["label"], "probability": pytest.approx(p["probability"], abs=1e-5)} for p in answer["predictions"]
    ]


def test_in_a_container_a_killed_worker_ends_the_server_so_that_the_orchestrator_starts_another(
    tiny_models_root: Path, tmp_path: Path
) -> None:
    environ = {"SIGHTLINE_MODELS": str(tiny_models_root), "BENTOML_CONTAINERIZED": "true"}
    with serving(tmp_path, environ=environ) as server:
        wait_until(server, "/readyz", 200)
        os.kill(worker_of(server), signal.SIGKILL)
        server.process.wait(30)


@pytest.fixture(scope="module")
def strict(tiny_models_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with little patience."""
    settings = {
        "UPLOAD_STALL_MS": "400",
        "HEADER_TIMEOUT_MS": "600",
        "MAX_CONNECTIONS": "60",
        "MIN_UPLOAD_BYTES_PER_S": "50000",
    }
    with ready_server(tiny_models_root, tmp_path_factory.mktemp("strict"), **settings) as server:
        yield server


def test_an_upload_that_stalls_is_408_and_cut_off(strict: Server) -> None:
    with connected(strict, head(1000), b"only a part") as caller:
        answer = rest_of(caller)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"code":"upload-too-slow"' in answer


def test_an_upload_that_trickles_is_408_and_cut_off(strict: Server) -> None:
    with connected(strict, head(1_000_000)) as caller:
        began = time.monotonic()
        try:
            while time.monotonic() - began < 10:
                caller.sendall(b"x")
                time.sleep(0.1)
        except OSError:
            pass
        assert time.monotonic() - began < 6


def test_a_head_that_does_not_come_is_cut_off(strict: Server) -> None:
    with connected(strict, b"POST / HTTP/1.1\r\nHost") as caller, connected(strict) as silent:
        assert rest_of(caller) == b""
        assert rest_of(silent) == b""


@pytest.mark.parametrize("endless", [b"x" * 100_000, b"a: b\r\n" * 20_000], ids=["one header", "many headers"])
def test_a_head_that_is_too_large_is_431(strict: Server, endless: bytes) -> None:
    with connected(strict, b"GET / HTTP/1.1\r\nHost: localhost\r\nx: ") as caller:
        caller.sendall(endless)
        answer = rest_of(caller)
    assert answer.startswith(b"HTTP/1.1 431")
    assert b'"code":"head-too-large"' in answer


def test_one_connection_too_many_is_503_and_the_others_go_on(strict: Server) -> None:
    held = [connected(strict, b"P") for _ in range(60)]
    try:
        with connected(strict, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n") as caller:
            assert b'"code":"too-many-connections"' in rest_of(caller)
    finally:
        for caller in held:
            caller.close()
    wait_until(strict, "/readyz", 200)


def test_what_is_too_large_is_answered_while_it_still_comes_and_the_connection_ends(strict: Server) -> None:
    with connected(strict, head(500_000_000), bytes(1_000_000)) as caller:
        answer = rest_of(caller)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer.lower()


def test_chunks_without_end_are_413(strict: Server) -> None:
    chunk = b"%x\r\n%b\r\n" % (1_000_000, bytes(1_000_000))
    with connected(strict, head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")) as caller:
        try:
            for _ in range(40):
                caller.sendall(chunk)
        except ConnectionError:
            pass
        assert rest_of(caller).startswith(b"HTTP/1.1 413")


def test_the_measurement_of_all_this_runs_and_says_what_it_measured(tiny_models_root: Path, tmp_path: Path) -> None:
    """The same promises as a command, and with wrk a flood at four times the measured capacity. Time is for quiet
    machines, so what is said of it is not looked at here.
    """
    with_flood = shutil.which("wrk") is not None
    out = tmp_path / "chaos.json"
    options = ["--store", tiny_models_root, "--out", out, "--scale", "0", "--times", "1", "--inputs", "100"]
    command = [sys.executable, "-m", "load_tests.chaos", *map(str, options)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=300)
    found = json.loads(out.read_text()) if out.exists() else pytest.fail(done.stdout + done.stderr)
    assert all({"date", "machine", "commit"} <= part.keys() for part in found.values())
    assert (found["sigterm"]["n"], found["hostile"]["n"]) == (1, 100)
    assert ("flood" in found) == with_flood
    for one in found.get("flood", {"rounds": []})["rounds"]:
        assert one["flooded"]["offered_per_s"] > 2 * one["capacity"]["per_s"]
        assert one["flooded"]["statuses"]["200"] > 0
    of_time = ("goodput", "p99", "latency", "change", "50 ms", "503")
    promises = {name: kept for part in found.values() for name, kept in part["promises"].items()}
    broken = [name for name, kept in promises.items() if not kept and not any(t in name for t in of_time)]
    assert broken == []
    assert len(promises) == (13 if with_flood else 8)


@pytest.mark.skipif(not (shutil.which("nginx") or Path("/usr/sbin/nginx").exists()), reason="no nginx")
def test_rolling_restarts_behind_an_nginx_that_never_asks_again_fail_no_request(
    tiny_models_root: Path, tmp_path: Path
) -> None:
    """Twenty of them take some minutes: python -m load_tests.chaos --parts rolling --times 20"""
    out = tmp_path / "rolling.json"
    few = ["--per-s", "25"]  # others use this machine too, and an overload is not what this is about
    options = ["--parts", "rolling", "--times", "2", *few, "--store", tiny_models_root, "--out", out]
    command = [sys.executable, "-m", "load_tests.chaos", *map(str, options)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())["rolling"]
    assert (found["n"], found["failed"], set(found["outcomes"])) == (2, 0, {"200"})


def test_a_flood_is_answered_and_leaves_no_trace(tiny_models_root: Path, tmp_path: Path) -> None:
    bodies = [slow_to_decode(), jpeg(4000, 3000)]  # the second kind is decoded in threads, and queued while it is

    def ask(number: int) -> int:
        return client.post(server.url + PREDICT, content=bodies[number % 2]).status_code

    limits = {"QUEUE_LIMIT": "8", "MAX_BATCH": "4", "MAX_IMAGES": "4", "REQUEST_TIMEOUT_MS": "3000"}
    with ready_server(tiny_models_root, tmp_path, **limits) as server:
        # One client: to make one for each request takes so long that they come one after the other.
        with httpx.Client(timeout=30) as client, ThreadPoolExecutor(48) as callers:
            statuses = Counter(callers.map(ask, range(96)))
        assert set(statuses) <= {200, 429, 504}
        assert statuses[200] > 0
        assert statuses[429] > 0
        began = time.monotonic()
        assert httpx.post(server.url + PREDICT, content=jpeg()).status_code == 200
        assert time.monotonic() - began < 2
        assert "Traceback" not in server.log.read_text()


KEY = "correct-horse-battery"


def test_an_address_that_everybody_can_reach_is_refused_without_keys(tiny_models_root: Path, tmp_path: Path) -> None:
    environ = {"SIGHTLINE_MODELS": str(tiny_models_root)}
    with serving(tmp_path, environ=environ, host="0.0.0.0") as server:  # noqa: S104
        assert server.process.wait(30) != 0
        assert server.log.read_text().startswith("sightline: 0.0.0.0 can be reached from other machines")


@pytest.mark.parametrize("how", ["BENTOML_HOST", "BENTOML_CONFIG_OPTIONS"])
def test_an_address_that_comes_by_another_way_is_refused_too(tiny_models_root: Path, tmp_path: Path, how: str) -> None:
    value = {"BENTOML_HOST": "0.0.0.0", "BENTOML_CONFIG_OPTIONS": "api_server.http.host=0.0.0.0"}[how]  # noqa: S104
    environ = {"SIGHTLINE_MODELS": str(tiny_models_root), how: value}
    with serving(tmp_path, environ=environ, host="") as server:
        assert server.process.wait(30) != 0
        assert "sightline: 0.0.0.0 can be reached from other machines" in server.log.read_text()


def test_a_worker_that_everybody_can_reach_answers_nobody_even_when_the_start_was_not_refused(
    tiny_models_root: Path, tmp_path: Path
) -> None:
    """The supervisor is deceived; the worker looks at its socket."""
    code = (
        "import service.app, service.api.auth as access, runpy, sys;"
        "access.check_address = lambda *_: None;"
        "sys.argv = ['bentoml', *sys.argv[1:]]; runpy.run_module('bentoml', run_name='__main__')"
    )
    environ = {"SIGHTLINE_MODELS": str(tiny_models_root)}
    with serving(tmp_path, environ=environ, host="0.0.0.0", python=("-c", code)) as server:  # noqa: S104
        wait_until(server, "/readyz", 200)
        refused = httpx.post(server.url + PREDICT, content=jpeg())
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
        assert "SIGHTLINE_ALLOW_ANONYMOUS" in refused.json()["detail"]


def test_anonymous_callers_are_answered_on_every_address_where_that_was_said(
    tiny_models_root: Path, tmp_path: Path
) -> None:
    environ = {"SIGHTLINE_MODELS": str(tiny_models_root), "SIGHTLINE_ALLOW_ANONYMOUS": "true"}
    with serving(tmp_path, environ=environ, host="0.0.0.0") as server:  # noqa: S104
        wait_until(server, "/readyz", 200)
        assert httpx.post(server.url + PREDICT, content=jpeg()).status_code == 200


def test_keys_of_file_and_environment_open_every_path_and_nothing_else_does(
    tiny_models_root: Path, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"# the new one\n{KEY}-new\n")
    environ = {"SIGHTLINE_MODELS": str(tiny_models_root), "SIGHTLINE_API_KEYS_FILE": str(keys)}
    with serving(tmp_path, environ=environ | {"SIGHTLINE_API_KEYS": f"{KEY}-old"}, host="0.0.0.0") as server:  # noqa: S104
        wait_until(server, "/readyz", 200)
        assert httpx.get(f"{server.url}/livez").status_code == 200
        for path in ("/", "/docs"):  # the pages, which ask for the key
            assert httpx.get(server.url + path).status_code == 200
        for path in ("/metrics", "/schema.json", "/docs.json", "/v1/models", "/v2", "/static_content/x"):
            refused = httpx.get(server.url + path)
            assert refused.status_code == 401, path
            assert "Bearer" in refused.headers["www-authenticate"]
        for path in (PREDICT, "/classify", "/v2/repository/index"):
            assert httpx.post(server.url + path, content=b"x").status_code == 401, path
        for key in (f"{KEY}-old", f"{KEY}-new"):
            shown = {"authorization": f"Bearer {key}"}
            assert httpx.post(server.url + PREDICT, content=jpeg(), headers=shown).status_code == 200
        assert httpx.get(f"{server.url}/v1/models", headers={"authorization": f"Bearer {KEY}"}).status_code == 401
        log = server.log.read_text()
        assert "rejected 401 unauthorized: POST" in log
        assert KEY not in log
