"""`sightline serve` and real servers: what it starts answers, and ends as it is asked to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.e2e.servers import ROOT, Server, free_port
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.e2e


# What Kubernetes says of services beside a pod, named bentoml, sightline-api and sightline-v2.
KUBERNETES = {
    "BENTOML_PORT": "tcp://10.0.0.1:3000",
    "BENTOML_SERVICE_HOST": "10.0.0.1",
    "SIGHTLINE_API_SERVICE_HOST": "10.0.0.2",
    "SIGHTLINE_V2_PORT_80_TCP": "tcp://10.0.0.3:80",
}


def serve(*words: str, home: Path, cwd: Path = ROOT, **variables: str) -> subprocess.Popen[str]:
    environ = {name: text for name, text in os.environ.items() if not name.startswith(("SIGHTLINE_", "BENTOML_"))}
    environ |= {"BENTOML_HOME": str(home), "PYTHONPATH": str(ROOT), "SIGHTLINE_SHUTDOWN_NOTICE_MS": "0"} | variables
    command = [sys.executable, "-m", "classifier.commands", "serve", *words]
    return subprocess.Popen(command, cwd=cwd, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def ready(url: str, process: subprocess.Popen[str]) -> bool:
    until = time.monotonic() + 90
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return True
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("how", ["--supervisor", "--no-supervisor"])
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_it_serves_the_models_named_from_any_folder_beside_services_of_kubernetes_and_ends_without_a_traceback(
    signal_number: signal.Signals, how: str, tiny_models_root: Path, tmp_path: Path
) -> None:
    port = free_port()
    words = [how, "--port", str(port), "--models", str(tiny_models_root)]
    with serve(*words, home=tmp_path, cwd=tmp_path, **KUBERNETES) as process:
        try:
            assert ready(f"http://127.0.0.1:{port}", process)
            listed = httpx.get(f"http://127.0.0.1:{port}/v1/models").json()["models"]
            assert COLOUR in [model["model"] for model in listed]
            process.send_signal(signal_number)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    # A server alone ends by the signal once its work is done, at Ctrl-C as shells do; BentoML's supervisor as it likes.
    alone = {signal.SIGINT: 130, signal.SIGTERM: -signal.SIGTERM}[signal_number]
    assert process.returncode in ((alone,) if how == "--no-supervisor" else (0, 1))
    assert "Traceback" not in out + err
    assert "Abort" not in out + err


def test_without_a_supervisor_the_server_is_the_one_process(tiny_models_root: Path, tmp_path: Path) -> None:
    port = free_port()
    with serve("--no-supervisor", "--port", str(port), "--models", str(tiny_models_root), home=tmp_path) as process:
        try:
            assert ready(f"http://127.0.0.1:{port}", process)
            assert Server(f"http://127.0.0.1:{port}", process, tmp_path).process_ids() == [process.pid]
        finally:
            process.kill()


def test_a_second_server_on_the_same_port_says_so_in_one_line(server: Server, tmp_path: Path) -> None:
    port = server.url.rsplit(":", 1)[1]
    with serve("--port", port, home=tmp_path) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err == f"error: 127.0.0.1 port {port}: Address already in use; choose another with --port\n"
    assert httpx.get(f"{server.url}/readyz").status_code == 200
