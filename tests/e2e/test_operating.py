"""What an operator has of a running server: TLS, keys that rotate, traces, spans, and what it says of itself."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.certificates import needs_openssl, write_certificate
from tests.e2e.servers import Server, serving, wait_until
from tests.service.pictures import jpeg
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.e2e

PREDICT = f"/v1/models/{COLOUR}/predict"
OLD, NEW = "a-key-of-last-year", "a-key-of-this-year"
TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GIVEN = f"00-{TRACE_ID}-{SPAN_ID}-01"


class Collector(http.server.ThreadingHTTPServer):
    """Takes spans as OpenTelemetry's collector does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.bodies: list[bytes] = []

    def spans(self) -> list[Any]:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        requests = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return [
            span
            for request in requests
            for of_resource in request.resource_spans
            for of_scope in of_resource.scope_spans
            for span in of_scope.spans
        ]


class _Receiver(http.server.BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
        if self.path == "/v1/traces":
            self.server.bodies.append(body)

    def log_message(self, *_: object) -> None: ...


class Operated(NamedTuple):
    """A server by TLS, its files, and the collector of its spans."""

    server: Server
    url: str
    folder: Path
    collector: Collector

    def client(self, key: str = OLD) -> httpx.Client:
        trusted = ssl.create_default_context(cafile=str(self.folder / "tls.crt"))
        shown = {"authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, verify=trusted, headers=shown, timeout=20, trust_env=False)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def operated(
    tiny_models_root: Path, tmp_path_factory: pytest.TempPathFactory, collector: Collector
) -> Iterator[Operated]:
    folder = tmp_path_factory.mktemp("operated")
    certificate, key = write_certificate(folder, "first")
    (folder / "keys").write_text(OLD)
    environ = {
        "SIGHTLINE_MODELS": str(tiny_models_root),
        "SIGHTLINE_TLS_CERT": str(certificate),
        "SIGHTLINE_TLS_KEY": str(key),
        "SIGHTLINE_API_KEYS_FILE": str(folder / "keys"),
        "SIGHTLINE_TRUSTED_PROXIES": "127.0.0.1",
        "SIGHTLINE_LOG_FORMAT": "json",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_address[1]}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with serving(folder / "bentoml", environ=environ) as server:
        made = Operated(server, server.url.replace("http:", "https:"), folder, collector)
        until(lambda: _is_ready(made), server)
        yield made


def _is_ready(operated: Operated) -> bool:
    with operated.client() as client:
        return client.get("/readyz").status_code == 200


def until(condition: Callable[[], bool], server: Server, timeout_s: float = 60) -> None:
    """Ask again and again. Raises AssertionError with the server's log."""
    ends = time.monotonic() + timeout_s
    while time.monotonic() < ends and server.process.poll() is None:
        try:
            if condition():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(server.log.read_text())


def lines_with(operated: Operated, text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in operated.server.log.read_text().splitlines() if text in line]


@needs_openssl
def test_by_tls_pictures_are_classified_and_a_plain_caller_is_not_answered(operated: Operated) -> None:
    with operated.client() as client:
        assert client.post(PREDICT, content=jpeg()).status_code == 200
    with pytest.raises(httpx.TransportError):
        httpx.post(operated.server.url + PREDICT, content=jpeg(), timeout=10)


@needs_openssl
def test_a_certificate_that_is_replaced_serves_new_connections_and_leaves_the_old_ones(operated: Operated) -> None:
    with operated.client() as before:
        assert before.get("/v1/models").status_code == 200
        write_certificate(operated.folder, "second")
        until(lambda: _is_ready(operated), operated.server, timeout_s=10)  # trusts the new one alone
        assert before.get("/v1/models").status_code == 200
    assert lines_with(operated, "was read anew")


@needs_openssl
def test_keys_rotate_without_a_restart(operated: Operated) -> None:
    keys = operated.folder / "keys"
    with operated.client(OLD) as old, operated.client(NEW) as new:
        assert (old.get("/v1/models").status_code, new.get("/v1/models").status_code) == (200, 401)
        keys.write_text(f"{OLD}\n{NEW}\n")
        until(lambda: new.get("/v1/models").status_code == 200, operated.server, timeout_s=10)
        assert old.get("/v1/models").status_code == 200
        keys.write_text("short\n")
        until(lambda: bool(lines_with(operated, "keys before stay in use")), operated.server, timeout_s=10)
        assert new.get("/v1/models").status_code == 200
        keys.write_text(OLD)
        until(lambda: new.get("/v1/models").status_code == 401, operated.server, timeout_s=10)
    assert NEW not in operated.server.log.read_text()


@needs_openssl
def test_the_server_says_what_runs_to_whoever_has_a_key(operated: Operated) -> None:
    with operated.client() as client:
        said = client.get("/v1/server").json()
        metrics = client.get("/metrics").text
    assert said["settings"]["trusted_proxies"] == ["127.0.0.1"]
    labels = f'commit="{said["commit"]}",engine="{said["engine"]}",version="{said["version"]}"'
    found = re.search(r"sightline_build_info\{(.*)\} 1\.0", metrics)
    assert found is not None
    assert set(found[1].split(",")) == set(labels.split(","))
    assert re.search(r"^process_resident_memory_bytes [0-9.e+]+$", metrics, re.MULTILINE)
    with operated.client("nobodys-key-of-all") as nobody:
        assert nobody.get("/v1/server").status_code == 401


@needs_openssl
def test_a_trace_comes_back_is_in_the_log_and_its_spans_are_at_the_collector(operated: Operated) -> None:
    headers = {"traceparent": GIVEN, "x-request-id": "of-a-trace", "x-forwarded-for": "203.0.113.7"}
    with operated.client() as client:
        answer = client.post(PREDICT, content=jpeg(), headers=headers)
        refused = client.post(PREDICT, content=b"no image", headers=headers)
    assert (answer.status_code, refused.status_code) == (200, 415)
    _, trace_id, span_id, flags = answer.headers["traceparent"].split("-")
    assert (trace_id, flags) == (TRACE_ID, "01")
    assert span_id != SPAN_ID
    until(lambda: bool(lines_with(operated, "of-a-trace")), operated.server)  # is written after the answer
    (line,) = lines_with(operated, "of-a-trace")
    assert (line["trace_id"], line["request_id"]) == (TRACE_ID, "of-a-trace")
    assert " from 203.0.113.7, " in line["message"]
    wanted = {"receive", "decode", "queue", "infer"}
    ours = [bytes.fromhex(span_id)]
    until(
        lambda: {s.name for s in operated.collector.spans() if s.parent_span_id in ours} == wanted,
        operated.server,
        timeout_s=20,
    )
    (whole,) = [span for span in operated.collector.spans() if span.span_id in ours]
    assert whole.name == "POST /v1/models/{model}/predict"
    assert whole.parent_span_id.hex() == SPAN_ID
    assert not [span.name for span in operated.collector.spans() if "readyz" in span.name]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root becomes another user")
def test_without_a_home_and_as_a_user_without_a_name_every_model_is_served(
    tiny_models_root: Path, tmp_path: Path
) -> None:
    """The user may read what root may, for Python may lie below root's home, and write nothing but `home`."""
    home = Path("/tmp") / f"sl-nobody-{os.getpid()}"  # noqa: S108 (pytest's own is closed to others)
    home.mkdir()
    home.chmod(0o777)
    may_read = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]
    become = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", *may_read, sys.executable, "-m", "bentoml"]
    code = f"import os, sys; del os.environ['HOME']; os.execvp('setpriv', [*{become!r}, *sys.argv[1:]])"
    environ = {"SIGHTLINE_MODELS": str(tiny_models_root), "HOME": "/nowhere", "TMPDIR": str(home)}
    try:
        with serving(tmp_path, environ=environ | {"BENTOML_HOME": str(home)}, python=("-c", code)) as server:
            wait_until(server, "/readyz", 200)
            assert {Path(f"/proc/{process_id}").stat().st_uid for process_id in server.process_ids()} == {54321}
            assert httpx.post(server.url + PREDICT, content=jpeg()).status_code == 200
            assert "broken" not in httpx.get(f"{server.url}/v1/models").text
    finally:
        shutil.rmtree(home)
