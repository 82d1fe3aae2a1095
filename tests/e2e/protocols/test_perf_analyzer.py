"""NVIDIA's load generator for servers of the Open Inference Protocol, run as its users run it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.e2e.servers import Server
from tests.pictures import noise
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.e2e

# The program comes in no package that shares our locked versions, and needs a library of the system's; `.ci/run` puts
# both in place from requirements/perf-analyzer.txt.
PROGRAM = os.environ.get("PERF_ANALYZER", "")
PIXELS = noise(8, 8, seed=3)


@pytest.fixture(autouse=True)
def _program_is_there() -> None:
    if not PROGRAM:
        pytest.skip("PERF_ANALYZER names no perf_analyzer; .ci/run says where it comes from")


def perf_analyzer(server: Server, *arguments: str, model: str = COLOUR) -> subprocess.CompletedProcess[str]:
    """What it said of 40 requests."""
    cuda = next(Path(PROGRAM).parents[1].glob("lib/python*/site-packages/nvidia/cuda_runtime/lib"))
    command = [PROGRAM, "-m", model, "-u", server.url.removeprefix("http://"), "-i", "http", "--request-count", "40"]
    environ = os.environ | {"LD_LIBRARY_PATH": str(cuda)}
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120, check=False, env=environ)


def expecting(row: Sequence[float], folder: Path) -> str:
    """A file of one image and of the probabilities that it compares every answer with, byte for byte."""
    path = folder / "input.json"
    image = {"image": {"content": PIXELS.ravel().tolist(), "shape": list(PIXELS.shape)}}
    answer = {"probabilities": {"content": list(row), "shape": [len(row)]}}
    path.write_text(json.dumps({"data": [image], "validation_data": [answer]}))
    return str(path)


def row_of(server: Server, version: str) -> list[float]:
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, *PIXELS.shape], "data": PIXELS.ravel().tolist()}
    url = f"{server.url}/v2/models/{COLOUR}/versions/{version}/infer"
    (output,) = httpx.post(url, json={"inputs": [tensor]}).json()["outputs"]
    return [float(value) for value in output["data"]]


@pytest.mark.parametrize("version", ["1", "2"])
def test_every_answer_it_gets_is_the_version_s_own(server: Server, tmp_path: Path, version: str) -> None:
    row = row_of(server, version)
    done = perf_analyzer(server, "-x", version, "--input-data", expecting(row, tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    other = perf_analyzer(server, "-x", version, "--input-data", expecting(np.roll(row, 1).tolist(), tmp_path))
    assert other.returncode != 0, "it compares nothing, so the run before proves nothing"


@pytest.mark.parametrize(
    "arguments",
    [
        ("-b", "8"),
        ("--concurrency-range", "4"),
        ("--concurrency-range", "4", "--async"),
        ("--request-rate-range", "40"),
        ("--input-tensor-format", "json", "--output-tensor-format", "json"),
        ("--input-data", "zero"),
    ],
    ids=["batches", "threads", "asynchronous", "rate", "JSON", "zeros"],
)
def test_it_measures_the_server_from_both_ends(server: Server, arguments: tuple[str, ...]) -> None:
    images = 40 * (8 if "-b" in arguments else 1)
    before = inference_count(server)
    done = perf_analyzer(server, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Request count: 40" in done.stdout
    counted = re.search(r"Inference count: (\d+)", done.stdout)  # which the server says, on /v2/models/…/stats
    assert counted is not None
    assert 0 < int(counted[1]) <= images  # its threads may begin before it asks for the first time
    assert inference_count(server) - before >= images


def inference_count(server: Server) -> int:
    stats: Any = httpx.get(f"{server.url}/v2/models/{COLOUR}/stats").json()["model_stats"]
    return sum(int(entry["inference_count"]) for entry in stats)


def test_it_says_which_models_there_are_when_asked_for_another(server: Server) -> None:
    done = perf_analyzer(server, model="dogs")
    assert done.returncode != 0
    assert "no model 'dogs'; this server has:" in done.stdout + done.stderr
