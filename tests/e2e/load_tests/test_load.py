"""The load test itself: it passes on a right server, and a server with other answers fails it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from classifier.store import ModelStore
from tests.e2e.servers import ROOT, Server
from tests.tiny_models import COLOUR, GREY, save_tiny_model

pytestmark = pytest.mark.e2e


def run(
    *options: str | Path, traffic: Sequence[str] = ("--users", "3"), slo: str = "", seconds: int = 3
) -> subprocess.CompletedProcess[str]:
    """A short run. Its limits are those of `slo`, none by default: how fast this machine is now is no matter here."""
    out = Path(options[options.index("--out") + 1])
    limits = out.with_name(f"{out.name}-slo.toml")
    limits.write_text(slo)
    how = [*traffic, "--seconds", str(seconds), "--slo", str(limits)]
    command = [sys.executable, "-m", "load_tests.run", *how, *map(str, options)]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=180)


def counted(out: Path) -> dict[str, tuple[int, int]]:
    """Requests and failures by name."""
    with (out / "run_stats.csv").open() as file:
        return {row["Name"]: (int(row["Request Count"]), int(row["Failure Count"])) for row in csv.DictReader(file)}


def test_it_starts_a_server_asks_every_model_in_every_way_and_passes(tiny_models_root: Path, tmp_path: Path) -> None:
    done = run("--models", tiny_models_root, "--out", tmp_path, seconds=8)  # so that chance takes every way
    assert done.returncode == 0, done.stdout + done.stderr
    names = counted(tmp_path)
    for model in (COLOUR, GREY):
        for what in ("predict raw", "predict form", "predict json", "predict-batch of 16"):
            assert any(name.startswith(f"{model} {what}") for name in names), what
    assert names["Aggregated"][1] == 0
    assert (tmp_path / "run.html").stat().st_size > 0


def test_arrivals_do_not_wait_for_answers_and_both_rates_are_reported(
    server: Server, tiny_models_root: Path, tmp_path: Path
) -> None:
    done = run("--url", server.url, "--models", tiny_models_root, "--out", tmp_path / "out", traffic=("--rate", "15"))
    assert done.returncode == 0, done.stdout + done.stderr
    traffic = json.loads((tmp_path / "out" / "run.json").read_text())["traffic"]
    assert traffic["answered"] == traffic["offered"] > 0
    assert {"offered_per_s", "served_per_s", "generator_behind_ms"} <= traffic.keys()


def test_a_broken_limit_fails_the_run_and_is_named(server: Server, tiny_models_root: Path, tmp_path: Path) -> None:
    slo = '["predict raw 32x32"]\np50_ms = -1\n'
    done = run("--url", server.url, "--models", tiny_models_root, "--out", tmp_path / "out", slo=slo)
    assert done.returncode == 1, done.stdout + done.stderr
    broken = json.loads((tmp_path / "out" / "run.json").read_text())["broken"]
    assert broken
    assert all("predict raw 32x32: p50_ms is" in line for line in broken)


def test_wrong_answers_fail_the_run(server: Server, tmp_path: Path) -> None:
    other = ModelStore(tmp_path / "other")  # the same names and versions with other weights
    save_tiny_model(other, COLOUR, labels=("red", "green", "blue"), seed=7)
    save_tiny_model(other, COLOUR, labels=("red", "green", "blue"), seed=8)
    save_tiny_model(other, GREY, labels=("a", "b", "c", "d"), shape=(28, 28, 1), contrast="stretch", seed=9)
    done = run("--url", server.url, "--models", other.root, "--out", tmp_path / "out")
    assert done.returncode == 1, done.stdout + done.stderr
    requests, failures = counted(tmp_path / "out")["Aggregated"]
    assert failures > requests / 2
    assert "from the offline answer" in (tmp_path / "out" / "run_failures.csv").read_text()


def test_a_server_that_is_not_there_fails_the_run(tmp_path: Path) -> None:
    done = run("--url", "http://127.0.0.1:9", "--out", tmp_path)
    assert done.returncode != 0
    assert "no right answers to compare with" in done.stderr
