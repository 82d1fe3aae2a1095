"""`training.reports.plots`: the same data gives the same bytes, and nothing is too odd to draw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.evaluation.scores import Evaluation
from training.fitting.run import Epoch
from training.reports.plots import draw_confusion, draw_curves, draw_reliability


def history(epochs: int = 5) -> list[Epoch]:
    return [Epoch(n, 1.0, 1 / n, 1 - 1 / (n + 1), 1 / n + 0.1, 1 - 1 / (n + 2)) for n in range(1, epochs + 1)]


def answers(images: int = 40, classes: int = 3) -> Evaluation:
    rng = np.random.default_rng(0)
    return Evaluation(rng.dirichlet(np.ones(classes), images).astype(np.float32), rng.integers(0, classes, images))


def curves(path: Path) -> None:
    draw_curves(history(), history()[-1], path, "asl-augmented, seed 0")


def confusion(path: Path) -> None:
    draw_confusion(answers().confusion, ("bowl", "cup", "plate"), path, "test")


def reliability(path: Path) -> None:
    draw_reliability(answers().calibration, answers().calibration_error, path, "test")


@pytest.mark.parametrize("draw", [curves, confusion, reliability])
def test_the_same_data_gives_the_same_bytes(draw: Callable[[Path], None], tmp_path: Path) -> None:
    draw(tmp_path / "one.png")
    draw(tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_another_kept_epoch_is_another_picture(tmp_path: Path) -> None:
    draw_curves(history(), history()[-1], tmp_path / "last.png", "")
    draw_curves(history(), history()[-2], tmp_path / "earlier.png", "")
    assert (tmp_path / "last.png").read_bytes() != (tmp_path / "earlier.png").read_bytes()


def test_a_run_of_one_epoch_can_be_drawn(tmp_path: Path) -> None:
    draw_curves(history(1), history(1)[0], tmp_path / "curves.png", "")
    assert (tmp_path / "curves.png").exists()


def test_the_confusion_of_many_classes_gets_a_larger_picture(tmp_path: Path) -> None:
    for classes in (2, 24):
        labels = [f"class {i}" for i in range(classes)]
        draw_confusion(np.eye(classes, dtype=np.int64), labels, tmp_path / f"{classes}.png", "")
    with Image.open(tmp_path / "2.png") as few, Image.open(tmp_path / "24.png") as many:
        assert few.size < many.size


def test_a_class_without_images_can_be_drawn(tmp_path: Path) -> None:
    draw_confusion(np.array([[3, 1], [0, 0]]), ("cup", "plate"), tmp_path / "confusion.png", "")
    assert (tmp_path / "confusion.png").exists()


def test_reliability_of_answers_that_are_all_alike_can_be_drawn(tmp_path: Path) -> None:
    sure = Evaluation(np.tile(np.array([1.0, 0.0], np.float32), (4, 1)), np.zeros(4, np.int64))
    draw_reliability(sure.calibration, sure.calibration_error, tmp_path / "reliability.png", "")
    assert (tmp_path / "reliability.png").exists()
