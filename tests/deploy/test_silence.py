"""No server asks anybody outside: what it connects to is seen by strace, from its start to its end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from tests.e2e.servers import ROOT, Server, free_port, wait_until
from tests.service.pictures import jpeg
from tests.tiny_models import COLOUR

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(not shutil.which("strace"), reason="no strace")]

# What would keep a server silent by chance: CI is read by OpenVINO's telemetry.
SILENCERS = ("CI", "BENTOML_DO_NOT_TRACK", "OPENVINO_TELEMETRY_OPT_OUT")
ADDRESS = re.compile(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')
LOOPBACK = ("127.", "::1", "0.0.0.0", "::")  # noqa: S104
DNS = re.compile(r"htons\(53\)")


def asked(trace: Path) -> list[str]:
    """Lines of a trace in which somebody outside, or a resolver, was written to."""
    lines = trace.read_text(errors="replace").splitlines()
    return [line for line in lines if DNS.search(line) or _is_outside(line)]


def _is_outside(line: str) -> bool:
    found = ADDRESS.search(line)
    address = next(filter(None, found.groups())) if found else ""
    return bool(address) and not address.startswith(LOOPBACK)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["-m", "bentoml", "serve", "service.app:Sightline"], id="bentoml"),
        pytest.param(["-m", "classifier.commands", "serve"], id="sightline"),
    ],
)
def test_a_server_looks_nobody_up_and_writes_nothing_below_home(
    command: Sequence[str], tiny_models_root: Path, tmp_path: Path
) -> None:
    home, port, trace = tmp_path / "home", free_port(), tmp_path / "trace"
    home.mkdir()
    environ = {name: text for name, text in os.environ.items() if name not in SILENCERS and "SIGHTLINE" not in name}
    environ |= {"HOME": str(home), "BENTOML_HOME": str(tmp_path / "bentoml"), "SIGHTLINE_MODELS": str(tiny_models_root)}
    environ["SIGHTLINE_SHUTDOWN_NOTICE_MS"] = "0"
    traced = ["strace", "--follow-forks", "--quiet=all", "--trace=connect,sendto,sendmsg,sendmmsg", "--output", trace]
    with (tmp_path / "log").open("wb") as log:
        whole = [*traced, sys.executable, *command, "--host", "127.0.0.1", "--port", str(port)]
        process = subprocess.Popen(whole, cwd=ROOT, env=environ, stdout=log, stderr=log)
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
    traced = ["strace", "--follow-forks", "--quiet=all", "--trace=connect", "--output", trace]
    subprocess.run([*traced, sys.executable, "-c", command], check=True, timeout=60)
    assert len(asked(trace)) == 1
