"""A fit where Keras runs on JAX: the epochs there, and the version by TensorFlow."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from classifier.store import ModelStore
from tests.archives import photo_folders
from tests.sources import ROOT
from tests.training.tiny_backbone import on_tiny
from training.__main__ import main
from training.fitting.run import best_epoch, read_history
from training.recipes import FOR_ANY_IMAGES

ON_TINY = """
import sys
from tests.training.tiny_backbone import on_tiny
from training.__main__ import main
from training.recipes import FOR_ANY_IMAGES
FOR_ANY_IMAGES["finetuned"] = on_tiny("finetuned")
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="JAX is not installed: install sightline[jax]")
def test_epochs_that_were_trained_on_jax_alone_are_saved_by_tensorflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = photo_folders(tmp_path / "lamps", ("red", "green", "blue"), per_class=20, side=24)
    folders = ["--models", str(tmp_path / "models"), "--runs", str(tmp_path / "runs")]
    # JAX compiles for seconds: no other maps than a flip, and no batch of another size at the end of an epoch.
    quick = ["--epochs", "3", "--augment", "flip=1,rotate=0,shift=0,zoom=0", "--limit", "32"]
    command = ["fit", "finetuned", "--data", str(photos), "--precision", "float32", *quick, *folders]
    for missing in ("tensorflow", "matplotlib", "onnx", "tf2onnx", "tqdm"):  # as with sightline[gpu-jax]
        (tmp_path / f"{missing}.py").write_text("raise ModuleNotFoundError\n")
    on_jax = os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": str(tmp_path)}
    trained = subprocess.run(
        [sys.executable, "-c", ON_TINY, *command], cwd=ROOT, env=on_jax, capture_output=True, text=True, check=False
    )
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.splitlines()[-1].endswith("without KERAS_BACKEND, with --resume --precision float32")
    history = read_history(tmp_path / "runs" / "lamps.finetuned.seed-0" / "history.csv")
    assert (
        best_epoch(history).epoch == len(history) == 3
    )  # of fine-tuning: each library draws a tiny backbone of its own

    monkeypatch.setitem(FOR_ANY_IMAGES, "finetuned", on_tiny("finetuned"))
    assert main([*command, "--resume"]) == 0
    card = ModelStore(tmp_path / "models").verify("lamps")
    assert read_history(ModelStore(tmp_path / "models").folder("lamps", 1) / "history.csv") == history
    assert card.metrics["validation"].loss == pytest.approx(best_epoch(history).val_loss, abs=1e-4)
    first, *others = (card.training.machine or "").split("; ")
    assert " JAX " in first
    assert not others
