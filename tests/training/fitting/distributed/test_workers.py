"""Two workers on this machine: they take the course of one, and a fit outlives the loss of one of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from classifier.store import ModelStore
from tests.sources import ROOT
from tests.training.fitting.distributed.seeds import EPOCHS, SEEDS, run_folder
from training.fitting.run import HISTORY, read_history
from training.recipes import RECIPES
from training.recipes.recipe import Recipe

pytestmark = pytest.mark.slow

RECIPE = RECIPES["asl-baseline"]
LAST = 8  # epoch, so that the first is long before it
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in listeners]


@contextmanager
def workers(command: Sequence[str]) -> Iterator[list[subprocess.Popen[str]]]:
    """The chief and another worker, with a command in common."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    with ExitStack() as stack:
        started = []
        for index in range(2):
            config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            environ = os.environ | ONE_THREAD | {"TF_CONFIG": json.dumps(config)}
            pipe = subprocess.PIPE
            process = subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, env=environ, stdout=pipe, stderr=pipe, text=True
            )
            started.append(stack.enter_context(process))
            stack.callback(process.kill)
        yield started


SEEDS_OF = ["-m", "tests.training.fitting.distributed.seeds"]


@pytest.fixture(scope="module")
def alone(data_for: Callable[[Recipe], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of one device, from three seeds."""
    folder = tmp_path_factory.mktemp("alone")
    command = [sys.executable, *SEEDS_OF, str(data_for(RECIPE)), str(folder)]
    subprocess.run(command, cwd=ROOT, env=os.environ | ONE_THREAD, check=True)
    assert len({read_history(run_folder(folder, seed) / HISTORY)[-1].loss for seed in SEEDS}) == len(SEEDS)
    return folder


def assert_same_courses(left: Path, right: Path) -> None:
    for seed in SEEDS:
        one, other = (read_history(run_folder(folder, seed) / HISTORY) for folder in (left, right))
        assert len(one) == len(other) == EPOCHS
        np.testing.assert_allclose([row[2:] for row in other], [row[2:] for row in one], rtol=1e-4, atol=1e-4)


def test_two_workers_reach_the_history_of_one_from_three_seeds(
    data_for: Callable[[Recipe], Path], alone: Path, tmp_path: Path
):
    with workers([*SEEDS_OF, str(data_for(RECIPE)), str(tmp_path)]) as both:
        for process in both:
            _, said = process.communicate()
            assert process.returncode == 0, said
    assert_same_courses(alone, tmp_path)


def test_two_devices_of_a_machine_reach_it_too(data_for: Callable[[Recipe], Path], alone: Path, tmp_path: Path):
    command = [sys.executable, *SEEDS_OF, str(data_for(RECIPE)), str(tmp_path), "2"]
    subprocess.run(command, cwd=ROOT, env=os.environ | ONE_THREAD, check=True)
    assert_same_courses(alone, tmp_path)


def fit_command(data: Path, work: Path, *more: str) -> list[str]:
    folders = ["--models", str(work / "models"), "--runs", str(work / "runs"), "--record", str(work / "records")]
    return ["-m", "training", "fit", RECIPE.name, "--data", str(data), "--epochs", str(LAST), *folders, *more]


def test_a_lost_worker_ends_the_others_and_they_resume(data_for: Callable[[Recipe], Path], tmp_path: Path):
    data = data_for(RECIPE)
    history = tmp_path / "runs" / f"asl.{RECIPE.name}.seed-0" / HISTORY
    with workers(fit_command(data, tmp_path)) as (chief, other):
        deadline = time.monotonic() + 250
        while not history.exists() and chief.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        other.send_signal(signal.SIGKILL)
        _, said = chief.communicate()
    assert chief.returncode == 1, said
    assert [line for line in said.splitlines() if line.startswith("error")] == [
        "error: worker 0 of 2: another worker ended or cannot be reached; start all of them again with --resume"
    ]
    assert 1 <= len(read_history(history)) < LAST

    with workers(fit_command(data, tmp_path, "--resume")) as (chief, other):
        (heard, said), (others_heard, others_said) = chief.communicate(), other.communicate()
    assert (chief.returncode, other.returncode) == (0, 0), said + others_said
    assert "saved" in heard
    assert "worker 1 of 2: done; the chief saves the version" in others_heard
    assert ModelStore(tmp_path / "models").versions() == {"asl": (1,)}
    assert [row.epoch for row in read_history(tmp_path / "models" / "asl" / "1" / HISTORY)] == list(range(1, LAST + 1))
