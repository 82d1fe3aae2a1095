from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from classifier.loaded_model import LoadedModel
from classifier.store import ModelStore
from tests.archives import photo_folders
from training.__main__ import main
from training.fitting.run import Epoch, read_history
from training.recipes import RECIPES
from training.recipes.recipe import Recipe

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
RECIPE = RECIPES["asl-augmented"]
EPOCHS = 3


def fit_command(data: Path, work: Path, *more: str) -> list[str]:
    folders = ["--models", str(work / "models"), "--runs", str(work / "runs"), "--record", str(work / "records")]
    return ["fit", RECIPE.name, "--data", str(data), "--epochs", str(EPOCHS), "--precision", "float32", *folders, *more]


def history_of(work: Path) -> list[Epoch]:
    return read_history(work / "records" / RECIPE.name / "seed-0" / "history.csv")


def assert_same_course(left: list[Epoch], right: list[Epoch]) -> None:
    assert len(left) == len(right) == EPOCHS
    np.testing.assert_allclose([row[2:] for row in left], [row[2:] for row in right], atol=1e-3)


@pytest.fixture(scope="module")
def uninterrupted(data_for: Callable[[Recipe], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("uninterrupted")
    assert main(fit_command(data_for(RECIPE), work)) == 0
    return work


def killed_after_the_first_epoch(command: list[str], work: Path) -> None:
    process = subprocess.Popen([sys.executable, "-m", "training", *command], cwd=ROOT)
    history = work / "runs" / f"asl.{RECIPE.name}.seed-0" / "history.csv"
    until = time.monotonic() + 120
    while not history.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    assert 1 <= len(read_history(history)) < EPOCHS


def test_a_killed_fit_resumes_and_takes_the_course_of_an_uninterrupted_one(
    data_for: Callable[[Recipe], Path], uninterrupted: Path, tmp_path: Path
):
    command = fit_command(data_for(RECIPE), tmp_path)
    killed_after_the_first_epoch(command, tmp_path)
    assert main([*command, "--resume"]) == 0
    assert_same_course(history_of(tmp_path), history_of(uninterrupted))


def test_the_same_seed_and_precision_give_the_same_history(
    data_for: Callable[[Recipe], Path], uninterrupted: Path, tmp_path: Path
):
    assert main(fit_command(data_for(RECIPE), tmp_path)) == 0
    assert_same_course(history_of(tmp_path), history_of(uninterrupted))


def test_a_finished_fit_leaves_a_version_and_no_run(uninterrupted: Path):
    assert ModelStore(uninterrupted / "models").versions() == {"asl": (1,)}
    assert not list((uninterrupted / "runs").iterdir())


def test_the_card_says_how_the_weights_came_to_be(uninterrupted: Path):
    card = ModelStore(uninterrupted / "models").verify("asl")
    training = card.training
    assert (training.epochs_planned, training.epochs_run, training.seed) == (RECIPE.epochs, EPOCHS, 0)
    assert (training.precision, training.dataset.name) == ("float32", "sign-mnist")
    assert set(training.dataset.images) == {"train", "validation", "test"}
    assert set(card.metrics) == {"validation", "test"}
    assert training.libraries["keras"]
    exact = card.check_of("openvino", "float32")
    assert exact is not None
    assert (exact.same_top_class, exact.split) == (1.0, "test")
    assert exact.largest_difference <= 1e-4
    assert card.expected is not None
    assert (card.expected.data, card.expected.split) == ("sign-mnist", "test")
    assert card.expected.images == card.metrics["test"].images


def test_a_record_of_the_run_holds_no_weights(uninterrupted: Path):
    record = uninterrupted / "records" / RECIPE.name / "seed-0"
    assert sorted(p.name for p in record.iterdir()) == ["card.json", "confusion.png", "curves.png", "history.csv"]


def test_a_second_fit_becomes_the_next_version(data_for: Callable[[Recipe], Path], uninterrupted: Path, tmp_path: Path):
    models = tmp_path / "models"
    command = ["fit", RECIPE.name, "--data", str(data_for(RECIPE)), "--epochs", "1", "--runs", str(tmp_path / "runs")]
    for _ in range(2):
        assert main([*command, "--limit", "240", "--models", str(models)]) == 0
    assert ModelStore(models).versions() == {"asl": (1, 2)}


def test_a_folder_of_ones_own_photos_becomes_a_model_with_its_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    photos = photo_folders(tmp_path / "My Cups", ("bowl", "cup", "plate"), per_class=10)
    before = {path: path.stat().st_mtime_ns for path in [photos, *photos.rglob("*")]}
    assert main(["fit", "cats-vs-dogs-180-augmented", "--data", str(photos), "--epochs", "1"]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in [photos, *photos.rglob("*")]}, "written to"
    loaded = LoadedModel.open(ModelStore(tmp_path / "models"), "my-cups")
    assert loaded.card.labels == ("bowl", "cup", "plate")
    body = next(photos.glob("cup/*")).read_bytes()
    assert {label for label, _ in loaded.predict(body)} == {"bowl", "cup", "plate"}
    loaded.close()


def test_data_of_the_wrong_kind_is_refused_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "letters").mkdir()
    assert main(["fit", "asl-augmented", "--data", str(tmp_path / "letters")]) == 1
    assert "class" in capsys.readouterr().err
