"""`training.preview`: what a person sees is what the network will be fed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from classifier.card import InputSpec
from tests.archives import picture
from tests.training.fitting.on_features.test_flip_check import ramps
from tests.training.tiny_backbone import on_tiny
from training.datasets.dataset import Dataset, Split
from training.fitting.fit import fit
from training.fitting.options import FitOptions
from training.preview import COPIES, as_fitted, intentions, preview, sheet
from training.recipes import FOR_ANY_IMAGES, RECIPES
from training.recipes.recipe import Recipe, RecipeError

SIDE = 96
SHOWN_ONCE = replace(RECIPES["cats-vs-dogs-150-augmented"], input=InputSpec(height=SIDE, width=SIDE, channels=3))
AS_A_BATCH = RECIPES["asl-augmented"]


def split(images: int, side: int, channels: int) -> Split:
    labels = np.arange(images) % 2
    pixels = np.stack([picture(int(label), 2, i, side)[..., :channels] for i, label in enumerate(labels)])
    return Split(pixels, labels.astype(np.int64))


def tiles(shown: np.ndarray, rows: int, columns: int) -> list[np.ndarray]:
    """The pictures in a sheet, without the lines between them."""
    high, wide = (shown.shape[0] + 2) // rows, (shown.shape[1] + 2) // columns
    corners = [(row * high, column * wide) for row in range(rows) for column in range(columns)]
    return [shown[top : top + high - 2, left : left + wide - 2] for top, left in corners]


def test_one_image_is_shown_three_by_three_and_never_twice_the_same() -> None:
    shown = tiles(preview(SHOWN_ONCE, split(4, SIDE, 3), seed=0), 3, 3)
    assert {tile.shape for tile in shown} == {(SIDE, SIDE, 3)}
    assert len({tile.tobytes() for tile in shown}) == COPIES == 9
    colours = np.array([tile.reshape(-1, 3).mean(axis=0) for tile in shown])
    assert colours.std(axis=0).max() < 20  # all of one image: one class is red, the other cyan


def test_an_alternating_flip_is_shown_on_every_other_image() -> None:
    mirrored_only = RECIPES["cifar-10-fast"].with_augmentation({"shift": 0.0})
    shown = tiles(preview(mirrored_only, split(4, SIDE, 3), seed=0), 3, 3)
    np.testing.assert_array_equal(shown[1], shown[0][:, ::-1])
    np.testing.assert_array_equal(shown[2], shown[0])


def test_letters_are_shown_as_one_batch_enlarged() -> None:
    shown = tiles(preview(AS_A_BATCH, split(64, 28, 1), seed=0), 4, 8)
    assert len(shown) == AS_A_BATCH.batch_size == 32
    assert {tile.shape for tile in shown} == {(112, 112, 1)}


def test_the_same_seed_gives_the_same_picture_and_another_one_another() -> None:
    train = split(4, SIDE, 3)
    one, same, other = (preview(SHOWN_ONCE, train, seed).tobytes() for seed in (0, 0, 1))
    assert one == same != other


def test_a_recipe_without_augmentation_is_refused_naming_the_one_that_has_it() -> None:
    with pytest.raises(RecipeError, match="as they are; asl-augmented does"):
        preview(RECIPES["asl-baseline"], split(4, 28, 1), seed=0)


@pytest.mark.parametrize(("count", "rows", "columns"), [(9, 3, 3), (32, 4, 8), (16, 4, 4), (1, 1, 1), (7, 1, 7)])
def test_a_sheet_is_as_square_as_its_number_of_tiles_allows(count: int, rows: int, columns: int) -> None:
    shape = sheet(np.zeros((count, 100, 100, 3), np.uint8)).shape
    assert shape == (rows * 102 - 2, columns * 102 - 2, 3)


def both_splits(mirrored_is_the_other: bool, tmp_path: Path) -> tuple[Recipe, Recipe, Dataset]:
    data = ramps(60, mirrored_is_the_other=mirrored_is_the_other)
    asked = on_tiny("finetuned")
    return asked, as_fitted(asked, data, FitOptions("waves", tmp_path / "runs" / "waves")), data


@pytest.mark.slow
def test_what_the_fit_leaves_out_is_not_shown_and_said(tmp_path: Path) -> None:
    asked, fitted, data = both_splits(True, tmp_path)
    assert not fitted.augmentation.horizontal_flip
    said = intentions(asked, fitted, data)
    assert said[0] == "augmentation: rotated by up to 15 degrees, shifted by up to 10%, zoomed by up to 10%"
    assert "note: no flip, since a flipped image belongs to another class" in said[1]
    assert fit(asked, data, FitOptions("waves", tmp_path / "runs" / "waves")).recipe == fitted


@pytest.mark.slow
def test_a_flip_that_does_no_harm_is_shown(tmp_path: Path) -> None:
    asked, fitted, data = both_splits(False, tmp_path)
    assert fitted == asked
    assert intentions(asked, fitted, data) == [
        "augmentation: rotated by up to 15 degrees, shifted by up to 10%, zoomed by up to 10%, flipped"
    ]


def test_rare_classes_are_said_to_be_weighed_up() -> None:
    split = Split(np.zeros((80, 4, 4, 3), np.uint8), (np.arange(80) % 8 == 0).astype(np.int64))
    data = Dataset("cups", ("cup", "plate"), dict.fromkeys(("train", "validation", "test"), split))
    (_, note) = intentions(SHOWN_ONCE, SHOWN_ONCE, data)
    assert "rare classes are weighed up (cup 0.57, plate 4.00)" in note


def test_features_are_said_to_see_images_as_they_are() -> None:
    with pytest.raises(RecipeError, match="features feeds the images as they are; finetuned does"):
        preview(FOR_ANY_IMAGES["features"], split(4, 28, 3), seed=0)
