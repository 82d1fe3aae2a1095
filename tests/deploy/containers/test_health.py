"""deploy/health.py, which the health check of an image runs: it ends with 0 where the server says that it is ready."""

from __future__ import annotations

import http.server
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[3] / "deploy" / "health.py"


class Ready(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/readyz" else 404)
        self.end_headers()
        self.wfile.write(b"a reason")

    def log_message(self, *_: object) -> None: ...


class NotReady(Ready):
    status = 503


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[http.server.HTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), request.param) as there:
        threading.Thread(target=there.serve_forever, daemon=True).start()
        yield there
        there.shutdown()


def checked(port: int, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, PROGRAM]
    return subprocess.run(command, env={"PORT": str(port)} | environ, check=False, capture_output=True, text=True)


@pytest.mark.parametrize(("server", "code"), [(Ready, 0), (NotReady, 1)], indirect=["server"])
def test_it_ends_as_the_server_is_and_says_why(server: Any, code: int) -> None:
    done = checked(server.server_port)
    assert (done.returncode, done.stdout) == (code, "a reason")


def test_it_fails_where_nobody_answers() -> None:
    assert checked(9).returncode != 0


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl")
@pytest.mark.parametrize("server", [Ready], indirect=True)
def test_it_speaks_tls_where_the_server_does_whatever_host_its_certificate_names(server: Any, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key", tmp_path / "crt"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-keyout",
        key,
        "-out",
        certificate,
    ]
    subprocess.run([*command, "-subj", "/CN=elsewhere"], check=True, capture_output=True)
    speaking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    speaking.load_cert_chain(certificate, key)
    server.socket = speaking.wrap_socket(server.socket, server_side=True)
    assert checked(server.server_port, SIGHTLINE_TLS_CERT=str(certificate)).returncode == 0
