"""The unit of deploy/systemd/, read by systemd's own checks; the unit itself is not started."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from service.settings import describe
from tests.e2e.servers import serving

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "sightline.service"
MOST_EXPOSED = 2.5  # of 10, in systemd's own rating
LINES = [line for line in UNIT.read_text(encoding="utf-8").splitlines() if line and not line.startswith(("#", "["))]


@pytest.fixture(autouse=True)
def analyze() -> str:
    return shutil.which("systemd-analyze") or pytest.skip("no systemd-analyze")


def test_systemd_rates_the_unit_as_little_exposed(analyze: str) -> None:
    command = [analyze, "security", "--offline=true", f"--threshold={10 * MOST_EXPOSED:.0f}", UNIT]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    rated = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert rated, done.stderr
    assert float(rated[1]) <= MOST_EXPOSED
    assert done.returncode == 0


def test_systemd_finds_nothing_wrong_but_that_the_program_is_not_installed(analyze: str) -> None:
    done = subprocess.run([analyze, "verify", UNIT], check=False, capture_output=True, text=True, timeout=60)
    complaints = [line for line in done.stderr.splitlines() if "sightline.service" in line]
    assert [line for line in complaints if "is not executable" not in line] == []


def test_the_unit_waits_for_what_was_accepted() -> None:
    waits = next(int(line.partition("=")[2]) for line in LINES if line.startswith("TimeoutStopSec="))
    seconds = [float(row.default.strip("`")) / 1000 for row in describe() if "SHUTDOWN" in row.variable]
    assert waits > sum(seconds)


def test_systemd_hears_the_server_which_is_what_it_starts() -> None:
    assert {"Type=notify", "NotifyAccess=main"} <= set(LINES)
    (start,) = (line for line in LINES if line.startswith("ExecStart="))
    assert "--no-supervisor" in start


@pytest.mark.e2e
def test_a_server_tells_systemd_that_it_is_ready_alive_and_stopping(tiny_models_root: Path, tmp_path: Path) -> None:
    heard = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(120)
        environ = {"SIGHTLINE_MODELS": str(tiny_models_root), "NOTIFY_SOCKET": listener.getsockname()}
        with serving(tmp_path / "bentoml", environ=environ | {"WATCHDOG_USEC": "1000000"}) as server:
            heard.append(listener.recv(100))
            assert httpx.get(f"{server.url}/readyz", timeout=30).status_code == 200
            heard.append(listener.recv(100))
            assert server.stop() == 0
        listener.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                heard.append(listener.recv(100))
    assert heard[:2] == [b"READY=1", b"WATCHDOG=1"]
    assert b"STOPPING=1" in heard


def test_its_settings_are_settings_that_there_are() -> None:
    given = {name for line in LINES for name in re.findall(r"(SIGHTLINE_\w+)=", line)}
    assert given <= {row.variable for row in describe()}
