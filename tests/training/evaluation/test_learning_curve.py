"""`training.evaluation.learning_curve`: a point for each number of images, each measured once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.archives import folder_of, photo_files
from tests.training.tiny_backbone import on_tiny
from training.__main__ import main
from training.datasets.dataset import Dataset, Split
from training.errors import DatasetError
from training.evaluation.learning_curve import Measurement, drawn, pool, with_enough_steps
from training.evaluation.points import Point, read_points, write_points
from training.recipes import FOR_ANY_IMAGES, RECIPES
from training.recipes.recipe import RecipeError

LABELS = np.repeat(np.arange(3), (20, 30, 40))
COUNTS, SEEDS = ("4", "8"), "0,1"


def point(recipe: str = "features", images: int = 10, seed: int = 0, test_accuracy: float = 0.9) -> Point:
    return Point(
        recipe=recipe,
        images=images,
        seed=seed,
        train_images=2 * images,
        validation_images=2 * images,
        test_images=2000,
        validation_accuracy=0.95,
        test_accuracy=test_accuracy,
        epochs_run=40,
        epochs_planned=40,
        best_epoch=12,
        seconds=3.5,
        precision="float32",
        fingerprint="ab" * 32,
        machine="AMD EPYC, 2 cores",
        commit="c0ffee123456",
        finished="2026-02-03",
    )


def dataset() -> Dataset:
    pixels = np.arange(len(LABELS), dtype=np.uint8).reshape(-1, 1, 1, 1)
    return Dataset("numbers", ("a", "b", "c"), {n: Split(pixels, LABELS) for n in ("train", "validation", "test")})


def test_points_are_read_as_they_were_written(tmp_path: Path):
    points = [point(), point(images=100, seed=1)]
    write_points(points, tmp_path / "new" / "points.csv")
    assert read_points(tmp_path / "new" / "points.csv") == points


def test_points_stand_by_recipe_number_and_seed(tmp_path: Path):
    given = [point("b", 100, 0), point("a", 10, 0), point("b", 10, 1), point("b", 10, 0)]
    write_points(given, tmp_path / "points.csv")
    assert read_points(tmp_path / "points.csv") == [given[3], given[2], given[0], given[1]]


def test_a_file_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "points.csv").write_text("recipe,images\nfeatures,ten\n")
    with pytest.raises(RecipeError, match=r"points\.csv"):
        read_points(tmp_path / "points.csv")


def test_so_many_images_of_each_class_are_drawn():
    for seed in range(3):
        assert np.bincount(LABELS[drawn(LABELS, 7, seed)]).tolist() == [7, 7, 7]


def test_a_smaller_draw_is_part_of_a_larger_and_another_seed_draws_others():
    assert set(drawn(LABELS, 3, 0)) < set(drawn(LABELS, 9, 0))
    assert set(drawn(LABELS, 9, 0)) != set(drawn(LABELS, 9, 1))


def test_the_pool_has_no_more_than_asked_for_and_every_test_image():
    reduced = pool(dataset(), 20)
    assert {name: len(split) for name, split in reduced.splits.items()} == {"train": 60, "validation": 60, "test": 90}


def test_more_images_than_a_class_has_are_refused():
    with pytest.raises(DatasetError, match="has 20 training images only, 21 were asked for"):
        pool(dataset(), 21)


def test_an_epoch_has_enough_batches_to_learn_from_few_images():
    recipe = RECIPES["cats-vs-dogs-180-augmented"]
    assert with_enough_steps(recipe, 20).steps_per_epoch == 16
    assert with_enough_steps(recipe, 2000).steps_per_epoch == 63


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of each class 12 images to train on, 4 to validate on and 4 to test on."""
    splits = ["train"] * 12 + ["validation"] * 4 + ["test"] * 4
    files = photo_files(("cup", "plate"), per_class=20, side=32)
    placed = {f"{split}/{name}": body for (name, body), split in zip(files.items(), splits * 2, strict=True)}
    return folder_of(tmp_path_factory.mktemp("photos") / "cups", placed)


@pytest.fixture
def measured(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[Point]]]:
    """Run the command, and give its exit code and the file's points."""
    monkeypatch.setitem(FOR_ANY_IMAGES, "features", on_tiny())

    def run(*more: str, counts: tuple[str, ...] = COUNTS) -> tuple[int, list[Point]]:
        command = ["learning-curve", "features", "--data", str(photos), "--counts", ",".join(counts), "--seeds", SEEDS]
        out = tmp_path / "points.csv"
        return main([*command, "--out", str(out), "--runs", str(tmp_path / "runs"), *more]), read_points(out)

    return run


@pytest.mark.slow
def test_every_number_is_measured_with_every_seed(measured: Callable[..., tuple[int, list[Point]]], tmp_path: Path):
    code, points = measured()
    assert code == 0
    assert [(p.images, p.seed, p.train_images) for p in points] == [(4, 0, 8), (4, 1, 8), (8, 0, 16), (8, 1, 16)]
    for each in points:
        assert (each.test_images, each.validation_images, each.epochs_run) == (8, min(8, each.train_images), 2)
        assert 0 <= each.test_accuracy <= 1
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["features"]  # the cache; no run is left


@pytest.mark.slow
def test_points_there_are_stay_and_only_missing_ones_are_measured(
    measured: Callable[..., tuple[int, list[Point]]], capsys: pytest.CaptureFixture[str]
):
    _, first = measured(counts=("4",))
    assert measured()[0] == 1
    assert "--resume" in capsys.readouterr().err
    code, points = measured("--resume")
    assert code == 0
    assert points[:2] == first  # their seconds too: they were not fitted again
    assert len(points) == 4


@pytest.mark.slow
def test_a_recipe_from_scratch_is_measured_on_the_same_images(photos: Path, tmp_path: Path):
    small = replace(RECIPES["cats-vs-dogs-blog"], input=on_tiny().input, network=_small_network, epochs=1)
    from training.datasets.folders import Folders
    from training.fitting.options import FitOptions

    data = pool(Folders().load(photos, small.input), 8)
    options = FitOptions("cups", tmp_path / "run", precision="float32")
    points = list(Measurement(small, data, options).points([8], [0], []))
    assert [(p.recipe, p.images, p.train_images, p.test_images) for p in points] == [("cats-vs-dogs-blog", 8, 16, 8)]


def _small_network(classes: int, _: object) -> list[object]:
    from keras import layers

    from training.layers.heads import sigmoid_for_two

    return [layers.Rescaling(1 / 255, dtype="float32"), layers.Flatten(), sigmoid_for_two(classes)]


@pytest.mark.slow
def test_the_points_lie_beside_the_runs_unless_another_place_is_named(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(FOR_ANY_IMAGES, "features", on_tiny())
    monkeypatch.chdir(tmp_path)
    assert main(["learning-curve", "features", "--data", str(photos), "--counts", "4", "--seeds", "0"]) == 0
    assert len(read_points(tmp_path / "runs" / "cups.images-per-class.csv")) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
