"""What one process does without HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from classifier.engines import openvino
from classifier.engines.openvino import supports_bfloat16
from classifier.store import ModelStore
from load_tests import limit
from tests.tiny_models import add_int8, save_tiny_model


def test_every_measurement_is_kept_by_batch_size(tmp_path: Path):
    models = ModelStore(tmp_path / "models")
    save_tiny_model(models, "asl", shape=(28, 28, 1), contrast="stretch")
    out = tmp_path / "limit.json"
    options = ["--parts", "both", "--models", "asl", "--store", str(models.root), "--out", str(out)]
    for _ in range(2):  # the second replaces the first
        limit.main([*options, "--seconds", "0", "--rounds", "1"])
    results = json.loads(out.read_text())
    (run,) = results["runs"]
    assert (run["model"], run["image"], run["precision"], run["session"]) == ("asl", "28x28", "float32", 1)
    sizes = {str(size) for size in limit.BATCHES}
    assert run["infer_per_s"].keys() == run["both_per_s"].keys() == sizes
    assert run["latency_ms"].keys() == {"p50", "p99"}
    assert all({"date", "commit", "machine", "libraries"} <= session.keys() for session in results["sessions"])


@pytest.mark.skipif(not supports_bfloat16(), reason="this processor has no native bfloat16")
def test_every_version_is_measured_in_both_precisions_in_turns(tmp_path: Path):
    models = ModelStore(tmp_path / "models")
    for _ in range(2):
        save_tiny_model(models, "asl", shape=(28, 28, 1))
    save_tiny_model(models, "cifar-10", shape=(8, 8, 3))
    out = tmp_path / "limit.json"
    limit.main(["--parts", "precisions", "--store", str(models.root), "--seconds", "0.01", "--out", str(out)])
    found = json.loads(out.read_text())["precisions"]
    assert [(one["model"], one["version"]) for one in found["versions"]] == [("cifar-10", 1), ("asl", 1), ("asl", 2)]
    for one in found["versions"]:
        assert one["per_s"].keys() == {"float32", "bfloat16"}
        assert all(len(rounds) == 3 and min(rounds) > 0 for rounds in one["per_s"].values())
    assert {"date", "commit", "machine", "libraries", "batch", "seconds"} <= found.keys()


def test_where_there_is_no_bfloat16_it_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limit, "supports_bfloat16", lambda: False)
    with pytest.raises(SystemExit, match="no native bfloat16"):
        limit.main(["--parts", "precisions"])


def test_versions_with_an_int8_network_are_measured_in_float32_and_int8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(openvino, "supports_int8", lambda: True)
    models = ModelStore(tmp_path / "models")
    for _ in range(2):
        save_tiny_model(models, "asl", shape=(28, 28, 1))
    add_int8(models, "asl")
    out = tmp_path / "limit.json"
    limit.main(["--parts", "int8", "--store", str(models.root), "--seconds", "0.01", "--out", str(out)])
    (found,) = json.loads(out.read_text())["int8"]["versions"]
    assert (found["model"], found["version"], list(found["per_s"])) == ("asl", 2, ["float32", "int8"])
    assert all(len(rounds) == 3 and min(rounds) > 0 for rounds in found["per_s"].values())
