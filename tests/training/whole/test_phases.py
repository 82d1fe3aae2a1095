"""Every phase of a fit and of an evaluation that may take long says how far it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from classifier.store import ModelStore
from tests.archives import photo_folders
from tests.tiny_models import COLOUR
from tests.training.tiny_backbone import SPEC, on_tiny
from training import progress
from training.__main__ import main
from training.datasets.folders import Folders
from training.export import save_version
from training.fitting.fit import fit
from training.fitting.options import FitOptions

pytestmark = pytest.mark.slow

PHASES = [
    "reading files",
    "reading images",
    "looking for near copies",
    "comparing images",
    "measuring colours",
    "computing features",
    "epochs",
    "checking the network",
    "checking what answers are worth",
    "checking what is served in float32",
]


class Heard:
    """Keeps the last call of each phase."""

    def __init__(self) -> None:
        self.phases: dict[str, tuple[int, int]] = {}

    def __call__(self, phase: str, done: int, total: int) -> None:
        self.phases[phase] = done, total


def test_a_fit_says_of_each_phase_how_far_it_is(tmp_path: Path) -> None:
    heard = Heard()
    photos = photo_folders(tmp_path / "cups", ("cup", "plate"), per_class=20, side=32)
    data = Folders().load(photos, SPEC, progress=heard)
    fitted = fit(on_tiny("finetuned"), data, FitOptions("cups", tmp_path / "runs" / "cups", progress=heard))
    save_version(ModelStore(tmp_path / "models"), fitted)
    said = [phase for phase in heard.phases if not phase.endswith("bfloat16")]  # where the processor has it
    assert said == PHASES
    assert all(done == total > 0 for done, total in heard.phases.values())


def test_an_evaluation_says_on_stderr_how_far_it_is(
    tiny_models_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "FIRST_LINE_S", 0.0)
    lamps = photo_folders(tmp_path / "lamps", ("red", "green", "blue"), per_class=100, side=12)
    models = ["--models", str(tiny_models_root), "--engine", "openvino"]
    assert main(["evaluate", COLOUR, "--data", str(lamps), *models]) == 0
    said = capsys.readouterr()
    for phase in ("reading files: ", "reading images: ", "evaluating: "):
        assert any(line.startswith(phase) and line.endswith(" left") for line in said.err.splitlines())
        assert phase not in said.out
