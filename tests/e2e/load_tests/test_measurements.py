"""The measurements against real servers: each runs to its end and keeps what it saw. None is timed here."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from classifier.store import ModelStore
from load_tests import servers
from load_tests.generators import wrk
from load_tests.generators.arrivals import arrivals
from load_tests.generators.target import Target
from load_tests.peers import OURS, PEERS, measure
from load_tests.pictures import Picture
from load_tests.workload import Pictures
from tests.e2e.servers import ROOT, Server
from tests.tiny_models import COLOUR, passed_check, save_tiny_model

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
def test_a_soak_keeps_the_start_the_latencies_the_memory_and_the_clients_rate(store: Path, tmp_path: Path) -> None:
    options = ["--seconds=1", "--rounds=2", "--minutes=0.05", "--images=20"]
    found = run("load_tests.soak", store, tmp_path / "soak.json", *options)
    assert len(found["boot"]["ready_s"]) == 3
    rows = found["half"]["rows"]
    assert [(row["round"], row["image"]) for row in rows] == [(1, "28x28"), (2, "28x28")]
    assert all(list(row[load]["statuses"]) == ["200"] for row in rows for load in ("evenly", "randomly"))
    assert all(row[load]["requests"] > row[load]["failures"] == 0 for row in rows for load in ("one", "capacity"))
    assert found["memory"]["failures"] == 0
    assert found["memory"]["resident_mb"]
    client = found["client"]
    assert (client["model"], client["n"], client["images"], len(client["rounds"])) == ("asl", 2, 20, 2)
    assert all(one["failed"] == 0 < one["client_per_s"] for one in client["rounds"])


@needs_wrk
def test_two_checkouts_are_measured_in_turns_each_in_its_own_folder(store: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for room in ("service", "classifier"):
        (other / room).symlink_to(ROOT / room)
    options = [str(other), "--starts", "1", "--pairs", "2", "--seconds", "0.5", "--connections", "2"]
    options += ["--other-precision", "float32"]
    found = run("load_tests.compare_checkouts", store, tmp_path / "found.json", *options)
    assert [(one["pair"], one["side"], one["failures"]) for one in found["runs"]] == [
        (1, "ours", 0),
        (1, "other", 0),
        (2, "other", 0),
        (2, "ours", 0),
    ]
    (comparison,) = found["comparisons"]
    assert len(comparison["pair_ratios"]) == 2
    assert comparison["ratio_of_medians"] > 0
    assert found["commits"]["other"] == "unknown"
    assert found["commits"]["ours"] != "unknown"
    assert found["models"]["asl"]["version"] == 1
    assert found["models"]["asl"]["other_precision"] == "float32"


@needs_wrk
def test_checkouts_with_other_answers_are_compared_only_where_versions_were_renewed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for room in ("service", "classifier"):
        (other / room).symlink_to(ROOT / room)
    models = ModelStore(other / "models")
    card = save_tiny_model(models, "asl", shape=(28, 28, 1), contrast="stretch", seed=7)
    models.update(card.model_copy(update={"checks": (passed_check("openvino", "bfloat16"),)}))  # as ours, which has it
    ours = tmp_path / "ours"
    command = ["load_tests.compare_checkouts", str(other), "--models", "asl", "--out", str(ours)]
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "stopped: other: sightline: an answer of asl is off by" in done.stderr
    assert not ours.exists()
    command += ["--renewed", "--starts=1", "--pairs=1", "--seconds=0.2", "--connections=1"]
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(ours.read_text())["comparisons"]) == 1


@contextlib.contextmanager
def target(server: Server, folder: Path, body: bytes) -> Iterator[Target]:
    (folder / "picture").write_bytes(body)
    sample = Pictures(COLOUR, "any", [Picture(folder / "picture", body, "image/jpeg")], {})
    with servers.started(["sleep", "60"], 0, {}) as process:  # whose memory is looked at
        process.url = server.url
        yield measure.target(process, OURS, sample, folder / "bodies")


@needs_wrk
def test_requests_come_at_the_rate_that_was_asked_for_and_all_are_answered(server, tmp_path) -> None:
    with target(server, tmp_path, (ROOT / "docs" / "chelsea.jpg").read_bytes()) as there:
        seen = wrk.flood(there, 2, connections=8, per_s=40)
    assert list(seen["statuses"]) == ["200"]
    assert seen["statuses"]["200"] == seen["sent"]
    assert 50 < seen["sent"] < 110  # 80 are expected, give or take 9 at random


@pytest.mark.parametrize("spaced", ["evenly", "randomly"])
def test_requests_come_at_their_moments_and_all_are_answered(spaced, server, tmp_path) -> None:
    with target(server, tmp_path, (ROOT / "docs" / "chelsea.jpg").read_bytes()) as there:
        seen = arrivals(there, 2, 40, spaced)
    assert seen["statuses"] == {"200": seen["sent"]}
    assert 50 < seen["sent"] < 110
    if spaced == "evenly":
        assert 78 <= seen["sent"] <= 81
    assert seen["steps_ms"]["infer"] > 0


@needs_wrk
def test_a_refused_request_counts_as_a_failure(server: Server, tmp_path: Path) -> None:
    with target(server, tmp_path, b"no image") as there:
        seen = wrk.load(there, connections=1, seconds=1)
    assert seen["failures"] == seen["requests"] > 0


def test_a_server_ends_with_every_process_below_it() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    with servers.started([sys.executable, "-c", code], servers.free_port(), {}) as server:
        servers.wait_until(server, lambda: len(server.process_ids()) == 2)
        ours = server.process_ids()
    assert not any(servers.is_running(pid) for pid in ours)
