"""`training.evaluation.cross_validation` and `fit --folds`: cross-validation, the test images aside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.training.checking.photos import photo
from training.__main__ import main
from training.datasets.dataset import Dataset, Split
from training.errors import DatasetError
from training.evaluation.cross_validation import fit_folds, fold_datasets, held_out_indices
from training.evaluation.folds import read_folds
from training.fitting.run import read_history
from training.recipes import RECIPES
from training.recipes.recipe import Recipe, RecipeError

LABELS = np.array([0] * 11 + [1] * 23 + [2] * 6, np.int64)
RECIPE = RECIPES["asl-augmented"]
LIMIT = "120"


def numbered(first: int, labels: np.ndarray) -> Split:
    """Images whose one pixel is their number."""
    numbers = np.arange(first, first + len(labels), dtype=np.uint8)
    return Split(numbers.reshape(-1, 1, 1, 1), labels)


def dataset() -> Dataset:
    splits = {
        "train": numbered(0, LABELS),
        "validation": numbered(len(LABELS), LABELS[::3]),
        "test": numbered(200, LABELS[::2]),
    }
    return Dataset("numbers", ("a", "b", "c"), splits)


def test_every_image_is_held_out_once() -> None:
    held = held_out_indices(LABELS, 5, seed=0)
    assert len(held) == 5
    assert sorted(np.concatenate(held)) == list(range(len(LABELS)))


def test_classes_are_dealt_out_evenly_over_the_folds() -> None:
    for fold in held_out_indices(LABELS, 5, seed=0):
        assert len(fold) == len(LABELS) / 5
        np.testing.assert_allclose(np.bincount(LABELS[fold]), np.bincount(LABELS) / 5, atol=1)


def test_images_that_are_alike_share_a_fold() -> None:
    alike = [[0, 3, 7], [12, 30], [20, 21, 22, 23]]
    held = held_out_indices(LABELS, 3, seed=0, alike=alike)
    assert sorted(np.concatenate(held)) == list(range(len(LABELS)))
    assert [[len({*group} & {*fold.tolist()}) for fold in held].count(0) for group in alike] == [2, 2, 2]


@pytest.mark.parametrize(
    "alike", [[list(range(6))], [[34, 35, 36], [37, 38, 39]]], ids=["most of a class", "two groups"]
)
def test_a_class_that_cannot_be_dealt_in_groups_is_dealt_image_by_image(alike: list[list[int]]) -> None:
    held = held_out_indices(LABELS, 3, seed=0, alike=alike)
    np.testing.assert_array_equal(np.concatenate(held), np.concatenate(held_out_indices(LABELS, 3, seed=0)))


def test_near_copies_of_a_picture_share_a_fold() -> None:
    scenes = np.stack([np.asarray(photo(seed, 32, 32)) for seed in range(24)])
    labels = np.repeat([0, 1], 12)
    brighter = np.minimum(scenes, 250) + np.uint8(5)
    given = Dataset("scenes", ("a", "b"), {"train": Split(scenes, labels), "validation": Split(brighter, labels)})
    for fold in fold_datasets(given, 3, seed=0):
        held, fitted_on = (fold.splits[name].pixels[:].astype(np.float32) for name in ("validation", "train"))
        assert len(held) == 16
        assert min(np.abs(image - fitted_on).mean((1, 2, 3)).min() for image in held) > 10  # no scene is in both


def test_the_folds_follow_from_the_seed() -> None:
    one, same, other = (np.concatenate(held_out_indices(LABELS, 5, seed)).tolist() for seed in (0, 0, 1))
    assert one == same != other


def test_training_and_validation_images_are_pooled_and_the_test_stays_aside() -> None:
    given = dataset()
    pool = len(given.splits["train"]) + len(given.splits["validation"])
    for fold in fold_datasets(given, 3, seed=0):
        seen = {int(pixel) for name in ("train", "validation") for pixel in fold.splits[name].pixels.ravel()}
        assert seen == set(range(pool))
        assert sum(len(fold.splits[name]) for name in ("train", "validation")) == pool
        assert fold.splits["test"] is given.splits["test"]


def test_pixels_stay_with_their_labels() -> None:
    given = dataset()
    label_of = {
        int(pixel): label
        for split in given.splits.values()
        for pixel, label in zip(split.pixels.ravel(), split.labels, strict=True)
    }
    for fold in fold_datasets(given, 3, seed=0):
        for split in fold.splits.values():
            assert [label_of[int(pixel)] for pixel in split.pixels.ravel()] == split.labels.tolist()


def test_a_class_with_fewer_images_than_folds_is_named() -> None:
    with pytest.raises(DatasetError, match="c has 8 images besides the test's, 9 folds need 9"):
        next(fold_datasets(dataset(), 9, seed=0))


def test_one_fold_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", RECIPE.name, "--data", ".", "--folds", "1"]) == 2
    assert "'--folds': expected a whole number from 2, got '1'" in capsys.readouterr().err


def test_a_record_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folds.json").write_text('{"recipe": "asl-augmented"}')
    with pytest.raises(RecipeError, match=r"folds\.json"):
        read_folds(tmp_path / "folds.json")


def folds_command(data: Path, work: Path, *more: str) -> list[str]:
    folders = ["--models", str(work / "models"), "--runs", str(work / "runs"), "--record", str(work / "records")]
    command = ["fit", RECIPE.name, "--data", str(data), "--limit", LIMIT, "--folds", "2", "--epochs", "1"]
    return [*command, "--precision", "float32", *folders, *more]


@pytest.mark.slow
def test_cross_validation_leaves_its_figures_and_no_version(
    data_for: Callable[[Recipe], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(folds_command(data_for(RECIPE), tmp_path)) == 0
    to = tmp_path / "records" / RECIPE.name / "folds-2-seed-0"
    record = read_folds(to / "folds.json")
    for split in ("validation", "test"):
        accuracies = [fold.metrics[split].accuracy for fold in record.folds]
        assert record.accuracy[split].mean == pytest.approx(np.mean(accuracies), abs=1e-6)
        assert record.accuracy[split].deviation == pytest.approx(np.std(accuracies, ddof=1), abs=1e-6)
    assert (record.recipe, record.seed, record.precision, len(record.folds)) == (RECIPE.name, 0, "float32", 2)
    assert [len(read_history(to / f"fold-{number}.csv")) for number in (1, 2)] == [1, 1]
    assert "standard deviation" in capsys.readouterr().out
    assert not (tmp_path / "models").exists()
    assert not list((tmp_path / "runs").iterdir())


@pytest.mark.slow
def test_an_interrupted_cross_validation_does_not_repeat_the_folds_it_has(
    data_for: Callable[[Recipe], Path], tmp_path: Path
) -> None:
    from training.fitting.options import FitOptions

    data = RECIPE.reader.load(data_for(RECIPE), RECIPE.input, limit=int(LIMIT))
    options = FitOptions("asl", tmp_path / "runs" / f"asl.{RECIPE.name}.seed-0", epochs=1, precision="float32")
    _, first_history = next(fit_folds(RECIPE, data, options, 2))
    assert main(folds_command(data_for(RECIPE), tmp_path)) == 1  # it says to resume
    assert main(folds_command(data_for(RECIPE), tmp_path, "--resume")) == 0
    resumed = read_history(tmp_path / "records" / RECIPE.name / "folds-2-seed-0" / "fold-1.csv")
    np.testing.assert_allclose(resumed, first_history, atol=1e-6)  # its seconds too: it was not fitted again
