"""Promises of `load_tests.gpu`, as far as they need no GPU and no second process."""

from __future__ import annotations

import argparse
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier.card import Card
from classifier.store import CARD, ModelStore
from load_tests import record
from load_tests.gpu import in_process, reference, versions
from load_tests.gpu.__main__ import TOTAL_S, UNTIL, without_file
from load_tests.gpu.fake_server import FakeEngine
from load_tests.gpu.over_http import over_http, served_store
from load_tests.gpu.pack import OF_KERAS, locked
from tests.tiny_models import COLOUR


def test_pictures_are_the_same_on_every_machine(tiny_models_root: Path) -> None:
    card = ModelStore(tiny_models_root).card(COLOUR)
    assert reference.pixels(card, 2)[1, 0, :2].tolist() == [[247, 33, 126], [220, 72, 124]]
    np.testing.assert_array_equal(reference.pixels(card, 3)[:2], reference.pixels(card, 2))


def test_what_is_packed_is_locked_by_hashes_and_leaves_out_what_a_gpu_machine_has() -> None:
    lines = locked().splitlines()
    names = {line.split("==")[0] for line in lines if "==" in line}
    assert {"bentoml", "pydantic-core", *OF_KERAS} <= names
    assert not {"openvino", "tensorflow", "jax", "jaxlib", "numpy", "pillow", "torch"} & names
    assert sum("--hash=sha256:" in line for line in lines) >= len(names)


def test_a_network_that_sleeps_takes_its_time_and_gives_the_samples_answer(tiny_models_root: Path) -> None:
    card = ModelStore(tiny_models_root).card(COLOUR)
    engine = FakeEngine(card, images_per_s=1_000.0)
    began = time.monotonic()
    rows = engine.infer(np.zeros((20, 8, 8, 3), np.uint8))
    assert time.monotonic() - began >= 0.02
    np.testing.assert_array_equal(rows, np.tile(np.float32(card.sample.probabilities), (20, 1)))
    engine.close()


@pytest.fixture
def measured(tiny_models_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What `in_process` writes of a version on a network that sleeps, given its further words."""
    models = ModelStore(tiny_models_root)
    card = models.card(COLOUR)
    which = reference.key(COLOUR, card.version)
    rows = np.tile(np.float32(card.sample.probabilities), (reference.IMAGES, 1))
    np.savez(tmp_path / "reference.npz", allow_pickle=False, **{which: rows})

    def opened(library: str, card: Card, *_: Any) -> FakeEngine:
        return FakeEngine(card, images_per_s=1e6)

    def run(*words: str) -> Any:
        monkeypatch.setattr(in_process, "opened", opened)
        monkeypatch.setattr(in_process, "ModelStore", lambda _: models)
        monkeypatch.setenv("KERAS_BACKEND", "tensorflow")  # which `main` changes
        given = [
            "--reference",
            str(tmp_path / "reference.npz"),
            "--out",
            str(tmp_path / "found.json"),
            "--images",
            "20",
        ]
        assert in_process.main(["jax", which, "float32", *given, "--seconds", "0.01", *words]) == 0
        return record.read(tmp_path / "found.json")

    return run


def test_a_version_is_compared_then_compiled_then_measured(measured: Any) -> None:
    found = measured("--batches", "4", "16", "--also", "2")
    assert found["agreement"]["largest_difference"] == 0.0
    assert found["agreement"]["n"] == 20
    assert list(found).index("2 first_s") < list(found).index("ready") < list(found).index("4 per_s")
    assert found["16 per_s"] > 0
    assert "2 per_s" not in found


def test_sizes_for_which_there_is_no_time_are_named_and_not_measured(measured: Any) -> None:
    found = measured("--batches", "4", "--until", "0")
    assert found["4 first_s"] == "no time was left"
    assert "4 per_s" not in found


def test_what_fails_is_kept_and_the_rest_goes_on(measured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("no such answers")

    monkeypatch.setattr(in_process, "agreement", fail)
    found = measured("--batches", "4")
    assert found["agreement"] == "ValueError: no such answers"
    assert found["4 per_s"] > 0


def test_a_library_that_cannot_compile_goes_on_without(tmp_path: Path) -> None:
    class Engine:
        compiles = True

        def stop_compiling(self) -> None:
            self.compiles = False

        def infer(self, batch: np.ndarray) -> None:
            if self.compiles:
                raise RuntimeError("no compiler")

    kept = in_process.Kept(tmp_path / "found.json")
    assert in_process.first_s(Engine(), np.zeros((4, 8, 8, 3), np.uint8), kept) >= 0  # type: ignore[arg-type]
    assert record.read(tmp_path / "found.json") == {"4 not_compiled": "RuntimeError: no compiler"}


def test_the_parts_of_the_check_are_over_one_after_another_within_its_time() -> None:
    assert list(UNTIL.values()) == sorted(UNTIL.values())
    assert max(UNTIL.values()) == 1.0
    assert TOTAL_S < 270


def test_the_kept_arguments_say_how_it_ran_and_not_where_files_lie() -> None:
    assert without_file(["--smoke", "--out", "/a/file", "--servers", "1", "8"]) == ["--smoke", "--servers", "1", "8"]


class StillCompiling:
    """Of a `versions.Part` what is asked of one that is not ready; it keeps the signals that it gets."""

    def __init__(self, *, ready: bool = False) -> None:
        self.ready = ready
        self.got: list[signal.Signals] = []

    def is_ready(self) -> bool:
        return self.ready

    def signal_all(self, number: signal.Signals) -> None:
        self.got.append(number)


def test_what_still_compiles_stands_still_while_others_are_measured_and_goes_on_whatever_happens() -> None:
    compiling, ready = StillCompiling(), StillCompiling(ready=True)

    def measured() -> None:
        assert compiling.got == [signal.SIGSTOP]
        compiling.ready = True
        raise OSError("no server")

    with pytest.raises(OSError, match="no server"), versions.paused([compiling, ready]):  # type: ignore[list-item]
        measured()
    assert compiling.got == [signal.SIGSTOP, signal.SIGCONT]
    assert ready.got == []


def test_the_servers_get_just_the_versions_that_are_asked_for(tiny_models_root: Path, tmp_path: Path) -> None:
    version = ModelStore(tiny_models_root).card(COLOUR).version
    store = served_store(tiny_models_root, [reference.key(COLOUR, version)], tmp_path / "models")
    assert [path.relative_to(store) for path in store.rglob(CARD)] == [Path(COLOUR, str(version), CARD)]


def test_no_server_starts_where_there_is_no_time_for_it() -> None:
    found: dict[str, Any] = {}
    over_http(argparse.Namespace(generators=1), 1, time.monotonic(), found, lambda: None)
    assert found["left_out"] == "everything"
