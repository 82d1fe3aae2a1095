"""What one process does without HTTP."""

from __future__ import annotations

import json
from pathlib import Path

from classifier.store import ModelStore
from load_tests import limit
from tests.tiny_models import save_tiny_model


def test_every_measurement_is_kept_by_batch_size(tmp_path: Path):
    models = ModelStore(tmp_path / "models")
    save_tiny_model(models, "asl", shape=(28, 28, 1), contrast="stretch")
    out = tmp_path / "limit.json"
    for _ in range(2):  # the second replaces the first
        limit.main(
            ["--models", "asl", "--store", str(models.root), "--seconds", "0", "--rounds", "1", "--out", str(out)]
        )
    results = json.loads(out.read_text())
    (run,) = results["runs"]
    assert (run["model"], run["image"], run["precision"], run["session"]) == ("asl", "28x28", "float32", 1)
    sizes = {str(size) for size in limit.BATCHES}
    assert run["infer_per_s"].keys() == run["both_per_s"].keys() == sizes
    assert run["latency_ms"].keys() == {"p50", "p99"}
    assert all({"date", "commit", "machine", "libraries"} <= session.keys() for session in results["sessions"])
