"""`training.preview`: what a person sees is what the network will be fed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from classifier.card import InputSpec
from tests.archives import picture
from training.datasets.dataset import Split
from training.preview import COPIES, preview, sheet
from training.recipes import RECIPES
from training.recipes.recipe import RecipeError

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
