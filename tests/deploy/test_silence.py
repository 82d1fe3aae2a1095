"""No server asks anybody outside: what it connects to is seen by strace, from its start to its end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.deploy.traces import STRACE, asked
from tests.e2e.bentos import shipped
from tests.e2e.servers import ROOT, Server, free_port, wait_until
from tests.service.pictures import jpeg
from tests.tiny_models import COLOUR

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(not shutil.which("strace"), reason="no strace")]

# What would keep a server silent by chance: CI is read by OpenVINO's telemetry.
SILENCERS = ("CI", "BENTOML_DO_NOT_TRACK", "OPENVINO_TELEMETRY_OPT_OUT")
WORDS = {
    "bentoml": ["-m", "bentoml", "serve", "service.app:Sightline"],
    "sightline": ["-m", "classifier.commands", "serve"],
    "without a supervisor": ["-m", "classifier.commands", "serve", "--no-supervisor"],
    "bento": ["-m", "bentoml", "serve", "sightline:latest"],
}


@pytest.mark.parametrize("way", WORDS)
def test_a_server_looks_nobody_up_and_writes_nothing_below_home(
    way: str, tiny_models_root: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home, store, port, trace = tmp_path / "home", tmp_path / "bentoml", free_port(), tmp_path / "trace"
    home.mkdir()
    if way == "bento":
        store = shipped(tmp_path_factory).home
    environ = {name: text for name, text in os.environ.items() if name not in SILENCERS and "SIGHTLINE" not in name}
    environ |= {"HOME": str(home), "BENTOML_HOME": str(store), "SIGHTLINE_MODELS": str(tiny_models_root)}
    environ["SIGHTLINE_SHUTDOWN_NOTICE_MS"] = "0"
    traced = ["strace", *STRACE, "--output", trace, sys.executable, *WORDS[way]]
    with (tmp_path / "log").open("wb") as log:
        whole = [*traced, "--host", "127.0.0.1", "--port", str(port)]
        cwd = tmp_path if way == "bento" else ROOT  # a Bento has all that it needs
        process = subprocess.Popen(whole, cwd=cwd, env=environ, stdout=log, stderr=log)
    server = Server(f"http://127.0.0.1:{port}", process, tmp_path / "log")
    try:
        wait_until(server, "/readyz", 200, timeout_s=300)
        answer = httpx.post(f"{server.url}/v1/models/{COLOUR}/predict", content=jpeg(), timeout=60)
        assert answer.status_code == 200
    finally:
        for pid in server.process_ids()[1:2]:  # the server that strace started; strace ends with it
            os.kill(pid, signal.SIGTERM)
        process.wait(60)
    assert asked(trace) == []
    assert list(home.rglob("*")) == []


def test_a_look_up_would_be_seen(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    command = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 53))"
    subprocess.run(["strace", *STRACE, "--output", trace, sys.executable, "-c", command], check=True, timeout=60)
    assert len(asked(trace)) == 1
