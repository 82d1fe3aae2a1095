"""What bfloat16 gains."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from classifier.engines.openvino import supports_bfloat16
from classifier.store import ModelStore
from load_tests import precisions
from tests.tiny_models import save_tiny_model


@pytest.mark.skipif(not supports_bfloat16(), reason="this processor has no native bfloat16")
def test_every_version_is_measured_in_both_precisions_in_turns(tmp_path: Path):
    models = ModelStore(tmp_path / "models")
    for _ in range(2):
        save_tiny_model(models, "asl", shape=(28, 28, 1))
    save_tiny_model(models, "tiny", shape=(8, 8, 3))
    out = tmp_path / "precisions.json"
    precisions.main(["--store", str(models.root), "--seconds", "0.01", "--rounds", "3", "--out", str(out)])
    found = json.loads(out.read_text())
    assert [(one["model"], one["version"]) for one in found["versions"]] == [("asl", 1), ("asl", 2), ("tiny", 1)]
    for one in found["versions"]:
        assert one["per_s"].keys() == {"float32", "bfloat16"}
        assert all(len(rounds) == 3 and min(rounds) > 0 for rounds in one["per_s"].values())
    assert {"date", "commit", "machine", "batch", "seconds", "libraries"} <= found.keys()


def test_where_there_is_no_bfloat16_it_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(precisions, "supports_bfloat16", lambda: False)
    with pytest.raises(SystemExit, match="no native bfloat16"):
        precisions.main([])
