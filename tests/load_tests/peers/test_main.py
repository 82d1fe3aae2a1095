"""The comparison with other servers: who takes part, what is measured, what is kept."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from classifier.store import ModelStore
from load_tests.generators import wrk
from load_tests.generators.target import Target
from load_tests.peers import BASE64, OURS, PEERS, RAW, __main__, measure
from tests.tiny_models import save_tiny_model

SEEN = {"per_s": 7.0, "requests": 7, "seconds": 1.0, "failures": 0, "p50_ms": 1.0, "p99_ms": 2.0, "memory_mb": 3.0}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = ModelStore(tmp_path_factory.mktemp("peers") / "models")
    save_tiny_model(models, "asl", shape=(28, 28, 1), contrast="stretch")
    return models.root


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Servers in name only; each that is started is noted."""
    starts: list[tuple[Any, ...]] = []

    @contextlib.contextmanager
    def serving(*about: Any) -> Iterator[None]:
        starts.append(about[:3])
        yield

    monkeypatch.setattr(measure, "serving", serving)
    monkeypatch.setattr(wrk, "load", lambda *_: SEEN)
    for name in ("require", "wait", "settle", "check"):
        monkeypatch.setattr(measure, name, lambda *_: None)
    monkeypatch.setattr(measure, "libraries", dict)
    return starts


def compare(store: Path, out: Path, *more: str) -> list[dict[str, Any]]:
    __main__.main(["--models", "asl", "--peers", OURS, "mosec", "--store", str(store), "--out", str(out), *more])
    runs: list[dict[str, Any]] = json.loads(out.read_text())["runs"]
    return runs


@pytest.mark.parametrize("name", [name for name in PEERS if name != OURS])
def test_every_peer_has_a_module_of_its_own(name: str):
    modules = [part.partition(":")[0] for part in PEERS[name].command if part.startswith("load_tests.peers.")]
    assert [importlib.util.find_spec(module) is not None for module in modules] == [True]


def test_an_image_travels_raw_or_as_base64():
    assert RAW.body(b"\xff\xd8") == b"\xff\xd8"
    assert [base64.b64decode(text) for text in json.loads(BASE64.body(b"\xff\xd8"))["images"]] == [b"\xff\xd8"]


def test_servers_take_turns_in_every_round(store: Path, tmp_path: Path, started: list[tuple[Any, ...]]):
    compare(store, tmp_path / "peers.json", "--rounds", "1", "2", "--connections", "1", "32")
    a_round = [(OURS, 1, "asl"), ("mosec", 1, "asl"), ("mosec", 2, "asl")]
    assert started == [*a_round, *a_round]


def test_every_run_is_kept_with_its_load_and_session(store: Path, tmp_path: Path, started: list[tuple[Any, ...]]):
    runs = compare(store, tmp_path / "peers.json", "--rounds", "1", "--connections", "1", "32")
    assert [(run["peer"], run["workers"], run["connections"], run["precision"]) for run in runs] == [
        *((OURS, 1, count, "float32") for count in (1, 32)),
        *(("mosec", workers, count, "float32") for workers in (1, 2) for count in (1, 32)),
    ]
    assert {run["session"] for run in runs} == {0}


def test_a_second_run_replaces_what_it_measures_and_leaves_the_rest(
    store: Path, tmp_path: Path, started: list[tuple[Any, ...]]
):
    compare(store, tmp_path / "peers.json", "--rounds", "1", "--connections", "1", "32")
    runs = compare(store, tmp_path / "peers.json", "--rounds", "1", "--connections", "32", "--workers", "2")
    assert len(runs) == 6
    assert [(run["workers"], run["connections"]) for run in runs if run["session"] == 1] == [(2, 32)]


def test_a_run_that_was_broken_off_is_taken_up_again(store: Path, tmp_path: Path, started: list[tuple[Any, ...]]):
    compare(store, tmp_path / "peers.json", "--rounds", "1", "--connections", "1")
    started.clear()
    runs = compare(store, tmp_path / "peers.json", "--rounds", "1", "2", "--connections", "1", "--resume")
    assert started == [(OURS, 1, "asl"), ("mosec", 1, "asl"), ("mosec", 2, "asl")]
    assert sorted({run["round"] for run in runs}) == [1, 2]


def test_a_server_that_answers_wrongly_ends_the_comparison(
    store: Path, tmp_path: Path, started: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
):
    def wrong(*_: Any) -> None:
        raise measure.WrongAnswer("off by 0.5")

    monkeypatch.setattr(measure, "check", wrong)
    with pytest.raises(SystemExit, match=r"stopped: off by 0\.5"):
        compare(store, tmp_path / "peers.json")


def test_a_server_that_breaks_costs_the_others_nothing_but_the_run_fails(
    store: Path, tmp_path: Path, started: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
):
    def load(target: Target, *_: Any) -> dict[str, float]:
        if target.path.startswith("/v1/models/"):  # ours
            raise RuntimeError("it ended under load")
        return SEEN

    monkeypatch.setattr(wrk, "load", load)
    options = ["--models", "asl", "--peers", OURS, "mosec", "--store", str(store), "--rounds", "1"]
    assert __main__.main([*options, "--out", str(tmp_path / "peers.json")]) == 1
    assert {run["peer"] for run in json.loads((tmp_path / "peers.json").read_text())["runs"]} == {"mosec"}
