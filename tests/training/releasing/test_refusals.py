"""What a release refuses and lets through, on a small real fit and on a shipped version with real images."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier import rollout_file
from classifier.store import ModelStore
from tests.archives import photo_folders
from tests.training.conftest import SHARED_DATA
from tests.training.releasing.changed_versions import Weights, never, noisier, save_changed, unchanged
from tests.training.tiny_backbone import SPEC, on_tiny, optimizer
from training.__main__ import main
from training.datasets import Folders

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
LABELS = ("red", "green", "blue")
CLOCK_ASIDE = "max_p50_ratio = 1000.0\n"  # a busy machine is no reason here


class Case:
    """A store whose version 1 is served, the images to compare on, and changes that are surely worse."""

    def __init__(self, models: ModelStore, name: str, data: Path, noise: float) -> None:
        self.models, self.name, self.data, self.noise = models, name, data, noise
        (models.root / "release.toml").write_text(CLOCK_ASIDE, encoding="utf-8")

    def released(self, change: Callable[[Any, Any], Weights], *more: str, order: Any = None) -> int:
        """Save a changed version and release it; returns the exit code."""
        card = save_changed(self.models, self.name, change, order)
        command = ["release", f"{self.name}@{card.version}", "--data", str(self.data)]
        return main([*command, "--models", str(self.models.root), "--runs", str(self.models.root.parent), *more])

    @property
    def stable(self) -> int | None:
        return rollout_file.read(self.models.root)[self.name].stable


@pytest.fixture(scope="module", params=["a small fit", "a shipped version"])
def fitted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelStore, str, Path]:
    """A store with one version, its name, and images that it was not fitted on, beside others."""
    folder = tmp_path_factory.mktemp("fitted")
    if request.param == "a shipped version":
        if not SHARED_DATA.is_dir():
            pytest.skip(f"needs the real archives in {SHARED_DATA}")
        shutil.copytree(ROOT / "models" / "asl" / "1", folder / "models" / "asl" / "1")
        return ModelStore(folder / "models"), "asl", SHARED_DATA / "sign-mnist.zip"
    return ModelStore(folder / "models"), "lamps", small_fit(folder)


def small_fit(folder: Path) -> Path:
    """Fit on a part of photos and return the folder of all of them."""
    from training.export import save_version
    from training.fitting.fit import fit
    from training.fitting.options import FitOptions

    some = photo_folders(folder / "some", LABELS, per_class=40, side=24)
    recipe, options = replace(on_tiny(), epochs=40, optimizer=optimizer), FitOptions("lamps", folder / "run")
    save_version(ModelStore(folder / "models"), fit(recipe, Folders().load(some, SPEC), options))
    return photo_folders(folder / "all", LABELS, per_class=140, side=24)


@pytest.fixture
def case(fitted: tuple[ModelStore, str, Path], tmp_path: Path) -> Case:
    models, name, data = fitted
    copy = ModelStore(Path(shutil.copytree(models.root, tmp_path / "models")))
    rollout_file.set_alias(copy.root, name, "stable", 1)
    return Case(copy, name, data, noise=5.0)


def refused(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("refused: ")]


def test_an_equal_version_is_released(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    assert case.released(unchanged) == 0
    assert refused(capsys) == []
    assert case.stable == 2


def test_one_broken_class_is_refused(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    label = case.models.card(case.name, 1).labels[1]
    assert case.released(never(1)) == 1
    assert any(line.startswith(f"refused: class {label}: recall 0.0000") for line in refused(capsys))
    assert case.stable == 1
    assert case.models.card(case.name, 2).released is None


def test_a_version_that_is_less_accurate_beyond_the_interval_is_refused(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    assert case.released(noisier(case.noise)) == 1
    (accuracy,) = (line for line in refused(capsys) if line.startswith("refused: accuracy: "))
    assert "is below the 95 % interval of version 1" in accuracy
    assert case.stable == 1


def test_reordered_labels_are_refused_unless_they_are_wanted(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    order = np.roll(np.arange(len(case.models.card(case.name, 1).labels)), 1)
    assert case.released(unchanged, order=order) == 1
    assert refused(capsys) == ["refused: labels: reordered; clients rely on them. --new-labels allows that"]
    assert case.stable == 1
    assert case.released(unchanged, "--new-labels", order=order) == 0
    assert case.stable == 3


def test_a_worse_version_is_released_for_a_reason_that_its_card_keeps(case: Case) -> None:
    assert case.released(never(1), "--force", "the class is not made any more") == 0
    record = case.models.card(case.name, 2).released
    assert record is not None
    assert record.forced == "the class is not made any more"
    assert any(rule.startswith("class ") for rule in record.broken_rules)
    assert case.stable == 2
