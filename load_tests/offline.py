"""What the command line answers to the same pictures: the truth that answers over HTTP are held to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from load_tests.pictures import Picture
from load_tests.record import ROOT

# Other engines round otherwise when the batch grows; docs/tuning.md#offline-tolerance.
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-3, "float16": 5e-3, "int8": 5e-3}


def answers(
    model: Mapping[str, Any], pictures: Iterable[Picture], store: Path | None = None
) -> dict[Path, dict[str, float]]:
    """Probabilities by label for each picture, of a model as `GET /v1/models/{model}` describes it.

    Reads the model store that the server reads: `store`, else SIGHTLINE_MODELS, else models/ of this checkout.
    """
    store = store or Path(os.environ.get("SIGHTLINE_MODELS", ROOT / "models"))
    reference = f"{model['model']}@{model['version']}"
    how = ["--engine", model["engine"], "--precision", model["precision"], "--models", str(store), "--json"]
    files = [str(picture.path) for picture in pictures]
    command = [sys.executable, "-m", "classifier", "predict", reference, *files, *how]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:5])}: {done.stderr.strip()}")
    return {Path(entry["image"]): by_label(entry["predictions"]) for entry in json.loads(done.stdout)}


def by_label(predictions: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    return {entry["label"]: entry["probability"] for entry in predictions}


def difference(ours: Mapping[str, float], theirs: Mapping[str, float]) -> float:
    """The largest difference of any probability; infinite where the labels differ."""
    if ours.keys() != theirs.keys():
        return float("inf")
    return max(abs(ours[label] - theirs[label]) for label in ours)
