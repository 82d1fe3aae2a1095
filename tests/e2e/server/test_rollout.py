"""A server takes up versions, aliases and canaries while it answers. The full run is `python -m load_tests.rollout`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.servers import ROOT, serving
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.e2e

TIMED = ("p99", "second")  # promises of time are for a quiet machine


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")
def test_nobody_notices_switches_broken_versions_and_canaries(tiny_models_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "rollout.json"
    options = ["--store", str(tiny_models_root), "--model", COLOUR, "--out", str(out), "--seconds", "2"]
    short = ["--switches", "3", "--broken", "3", "--weights", "2", "--canaries", "1"]
    command = [sys.executable, "-m", "load_tests.rollout", *options, *short]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=560)
    assert out.exists(), done.stdout + done.stderr
    found = json.loads(out.read_text())
    broken = [promise for promise, kept in found["promises"].items() if not kept]
    assert [promise for promise in broken if not any(word in promise for word in TIMED)] == [], done.stdout
    assert set(found["switches"]["statuses"]) == {"200"}
    assert len(found["broken"]["reasons"]) == 3
    assert all(found["broken"]["reasons"].values())
    assert found["canaries"]["wrong_lasted_requests"][0] < 500


@pytest.mark.parametrize("text", ["[tiny-colour]\nstable = 9\n", "[tiny-colour\n"])
def test_a_wrong_rollout_file_stops_the_start_with_one_line(tiny_models_root: Path, tmp_path: Path, text: str) -> None:
    models = shutil.copytree(tiny_models_root, tmp_path / "models")
    (models / "rollout.toml").write_text(text)
    with serving(tmp_path / "home", environ={"SIGHTLINE_MODELS": str(models)}) as server:
        assert server.process.wait(60) != 0
    log = server.log.read_text()
    assert "rollout.toml" in log
    assert "Traceback" not in log
