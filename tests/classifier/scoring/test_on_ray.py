"""`classifier.scoring.on_ray`: the rows of one machine, though a machine of the cluster is lost on the way."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from classifier.commands.cli import main
from classifier.loaded_model import LoadedModel
from classifier.scoring.on_ray import Cluster, UnusableCluster
from classifier.scoring.score import Finished, Scoring, score
from classifier.scoring.sources import Folder, source_of
from classifier.store import ModelStore
from tests.classifier.scoring.photos import faulty_pictures, good_pictures
from tests.sources import ROOT
from tests.tiny_models import COLOUR

PART_ROWS = 32
MACHINE = {"num_cpus": 1, "object_store_memory": 100_000_000}


def until(happened: Callable[[], bool], seconds: float = 250.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class HeldBack(NamedTuple):
    """Reads files, but nothing before `go` is there. Notes which actors wait for it."""

    photos: str
    meeting: str

    def __call__(self, name: str) -> bytes:
        meeting = Path(self.meeting)
        if not (meeting / "go").exists():
            (meeting / f"actor-{os.getppid()}").touch()
            until((meeting / "go").exists)
        return Path(self.photos, name).read_bytes()


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Ray cluster on this machine, of which the head does no work."""
    utils = pytest.importorskip("ray.cluster_utils", reason='Ray cannot be had: `pip install "sightline[ray]"`')
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "0")  # a full machine is no reason to end workers here
    monkeypatch.setenv("RAY_health_check_period_ms", "1000")  # so that a lost machine is noticed soon
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        options = MACHINE | {"num_cpus": 0, "include_dashboard": False}
        cluster = utils.Cluster(initialize_head=True, head_node_args=options)
        try:
            yield cluster
        finally:
            cluster.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_machine_that_is_lost_on_the_way_costs_no_row(
    head: Any, tiny_models_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    photos, meeting = faulty_pictures(good_pictures(tmp_path / "photos", 300)), tmp_path / "meeting"
    meeting.mkdir()
    slow = Folder(photos)
    slow.read = HeldBack(str(photos), str(meeting))
    machines = [head.add_node(**MACHINE) for _ in range(2)]

    def lose_one() -> None:
        until(lambda: len(list(meeting.glob("actor-*"))) == 2)  # both are in the middle of a part
        head.remove_node(machines.pop(), allow_graceful=False)
        (meeting / "go").touch()

    store = ModelStore(tiny_models_root)
    cluster = Cluster(head.address, store)
    with closing(LoadedModel.open(store, COLOUR)) as loaded:
        on_ray = Scoring(slow, str(photos), tmp_path / "ray.csv", cluster=cluster, part_rows=PART_ROWS)
        with ThreadPoolExecutor() as threads:
            losing = threads.submit(lose_one)
            assert score(loaded, on_ray) == Finished(rows=303, failed=3, new=303)
            losing.result()
        here = Scoring(source_of(str(photos)), str(photos), tmp_path / "here.csv", processes=1, part_rows=PART_ROWS)
        score(loaded, here)
    assert len(machines) == 1
    assert (tmp_path / "ray.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()

    options = ["--model", COLOUR, "--out", str(tmp_path / "command.csv"), "--models", str(tiny_models_root)]
    assert main(["score", str(photos), *options, "--ray", head.address]) == 0
    assert "303 images, 3 with an error; 303 of them now" in capsys.readouterr().out
    assert (tmp_path / "command.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()


def test_without_ray_it_is_said_what_to_install(
    tiny_models_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "ray", None)
    photos, store = good_pictures(tmp_path / "photos", 1), ModelStore(tiny_models_root)
    with closing(LoadedModel.open(store, COLOUR)) as loaded:
        job = Scoring(Folder(photos), str(photos), tmp_path / "out.csv", cluster=Cluster("auto", store))
        with pytest.raises(UnusableCluster, match=r'pip install "sightline\[ray\]"'):
            score(loaded, job)
