"""The measurements against real servers: each runs to its end and keeps what it saw. None is timed here."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from classifier.store import ModelStore
from load_tests import servers
from load_tests.peers import OURS, PEERS, measure
from load_tests.peers.measure import Pictures
from load_tests.pictures import Picture
from tests.e2e.servers import ROOT, Server
from tests.tiny_models import COLOUR, save_tiny_model

pytestmark = pytest.mark.e2e

needs_wrk = pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")
INSTALLED = [name for name in PEERS if name == OURS or measure.PEERS_PYTHON.exists()]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = ModelStore(tmp_path_factory.mktemp("measured") / "models")
    save_tiny_model(models, "asl", shape=(28, 28, 1), contrast="stretch")
    return models.root


def run(module: str, store: Path, out: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", module, "--models", "asl", "--store", str(store), "--out", str(out), *options]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@needs_wrk
@pytest.mark.parametrize("name", INSTALLED)
def test_every_peer_answers_like_the_offline_predictor_and_is_measured(name: str, store: Path, tmp_path: Path) -> None:
    options = ["--peers", name, "--connections", "2", "--rounds", "1", "--seconds", "2", "--workers", "1"]
    (found,) = run("load_tests.peers", store, tmp_path / "peers.json", *options)["runs"]
    assert (found["peer"], found["failures"]) == (name, 0)
    assert found["requests"] > 0
    assert found["memory_mb"] > 0


@needs_wrk
def test_a_soak_keeps_the_start_the_latencies_and_the_memory(store: Path, tmp_path: Path) -> None:
    found = run("load_tests.soak", store, tmp_path / "soak.json", "--seconds", "1", "--minutes", "0.05")
    assert len(found["boot"]["ready_s"]) == 3
    assert [(row["image"], row["failures"]) for row in found["half"]["rows"]] == [("28x28", 0)]
    assert found["memory"]["failures"] == 0
    assert found["memory"]["resident_mb"]


def loaded(server: Server, folder: Path, body: bytes, **options: Any) -> dict[str, Any]:
    (folder / "picture").write_bytes(body)
    sample = Pictures(COLOUR, "any", [Picture(folder / "picture", body, "image/jpeg")], {})
    with servers.started(["sleep", "60"], 0, {}) as process:  # whose memory is looked at
        process.url = server.url
        return measure.load(measure.target(process, OURS, sample, folder / "bodies"), **options)


@needs_wrk
def test_callers_who_pause_send_fewer_requests_and_all_are_answered(server: Server, tmp_path: Path) -> None:
    body = (ROOT / "docs" / "chelsea.jpg").read_bytes()
    seen = loaded(server, tmp_path, body, connections=8, seconds=2, pause_ms=200.0)
    assert seen["failures"] == 0
    assert 20 < seen["requests"] < 140  # 80 are expected; that it is neither a few nor thousands is the point


@needs_wrk
def test_a_refused_request_counts_as_a_failure(server: Server, tmp_path: Path) -> None:
    seen = loaded(server, tmp_path, b"no image", connections=1, seconds=1)
    assert seen["failures"] == seen["requests"] > 0


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium on this machine")
def test_the_page_is_timed_from_a_drop_to_its_first_prediction(store: Path, tmp_path: Path) -> None:
    pytest.importorskip("playwright.sync_api")
    command = ["load_tests.page_time", "--rounds", "1", "--store", str(store), "--out", str(tmp_path / "page.json")]
    subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=True, timeout=120)
    (took_ms,) = json.loads((tmp_path / "page.json").read_text())["first_prediction_ms"]
    assert took_ms > 0


def test_a_server_ends_with_every_process_below_it() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    with servers.started([sys.executable, "-c", code], servers.free_port(), {}) as server:
        servers.wait_until(server, lambda: len(server.process_ids()) == 2)
        ours = server.process_ids()
    assert not any(servers.is_running(pid) for pid in ours)
