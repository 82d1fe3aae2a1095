from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classifier.explanation import CELLS, WINDOWS, heat_map, occluded, overlay
from classifier.loaded_model import LoadedModel
from classifier.store import ModelStore

ROOT = Path(__file__).parents[2]
ANIMALS = ROOT.parent / "shared" / "data" / "cats-vs-dogs.zip"

SIZES = pytest.mark.parametrize("shape", [(180, 180, 3), (32, 32, 3), (28, 28, 1), (31, 47, 3)], ids=str)


def corner_network(pictures: np.ndarray) -> np.ndarray:
    """Says "white" as far as the upper left quarter is white, whatever the rest shows."""
    height, width = pictures.shape[1:3]
    white = pictures[:, : height // 2, : width // 2].mean(axis=(1, 2, 3)) / 255
    return np.stack([1 - white, white], axis=1).astype(np.float32)


def picture(shape: tuple[int, int, int]) -> np.ndarray:
    pixels = np.full(shape, 60, np.uint8)
    pixels[: shape[0] // 2, : shape[1] // 2] = 255
    return pixels


def explained(pixels: np.ndarray, label: int = 1) -> np.ndarray:
    painted = corner_network(np.stack(list(occluded(pixels))))
    return heat_map(corner_network(pixels[None])[0], painted, label)


@SIZES
def test_the_heat_lies_where_the_network_looks(shape: tuple[int, int, int]):
    heat = explained(picture(shape))
    half = CELLS // 2
    assert heat.shape == (CELLS, CELLS)
    assert heat.max() == 1.0
    assert heat[:half, :half].sum() / heat.sum() >= 0.7


@SIZES
def test_every_window_changes_the_picture_and_every_pixel_is_under_one(shape: tuple[int, int, int]):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    pictures = list(occluded(pixels))
    changed = [(painted != pixels).any(axis=-1) for painted in pictures]
    assert len(pictures) == WINDOWS
    assert all(where.any() for where in changed)
    assert np.any(changed, axis=0).mean() > 0.9  # a pixel may have the mean colour already


def test_the_picture_itself_is_left_alone():
    pixels = picture((32, 32, 3))
    before = pixels.copy()
    list(occluded(pixels))
    np.testing.assert_array_equal(pixels, before)


def test_a_decision_that_rests_on_nothing_gives_a_cold_map():
    rows = np.full((WINDOWS, 2), 0.5, np.float32)
    assert not heat_map(rows[0], rows, 0).any()


def test_certainty_beyond_float32_gives_numbers_all_the_same():
    whole, painted = np.array([0.0, 1.0], np.float32), np.tile(np.array([1.0, 0.0], np.float32), (WINDOWS, 1))
    assert np.isfinite(heat_map(whole, painted, 1)).all()


def test_the_overlay_is_clear_where_cold_and_red_where_warm():
    heat = np.zeros((CELLS, CELLS), np.float32)
    heat[0, 0] = 1.0
    image = overlay(heat, 90, 120)
    assert (image.mode, image.size) == ("RGBA", (120, 90))
    assert image.getpixel((119, 89))[3] == 0
    red, green, _, alpha = image.getpixel((0, 0))
    assert alpha > 150
    assert red > 200
    assert green < 60


@pytest.mark.slow
@pytest.mark.skipif(not ANIMALS.exists(), reason="the cats-vs-dogs photos are not beside the project")
@pytest.mark.skipif("cats-vs-dogs" not in ModelStore(ROOT / "models").versions(), reason="no cats-vs-dogs is shipped")
def test_with_a_real_animal_in_one_quadrant_most_of_the_heat_lies_there():
    model = LoadedModel.open(ModelStore(ROOT / "models"), "cats-vs-dogs")
    height, width, _ = model.card.input.shape
    shares = []
    with zipfile.ZipFile(ANIMALS) as photos:
        for number in range(24):
            name = f"train/{'cat' if number % 2 else 'dog'}.{1500 + number}.jpg"
            animal = Image.open(io.BytesIO(photos.read(name))).convert("RGB").resize((width // 2, height // 2))
            down, right = divmod(number % 4, 2)
            canvas = Image.new("RGB", (width, height), (128, 128, 128))
            canvas.paste(animal, (right * (width // 2), down * (height // 2)))
            pictures = np.stack([np.asarray(canvas), *occluded(np.asarray(canvas))])
            whole, *painted = model.engine.infer(pictures)
            heat = heat_map(whole, np.stack(painted), int(whole.argmax()))
            half = CELLS // 2
            inside = heat[down * half : (down + 1) * half, right * half : (right + 1) * half]
            shares.append(inside.sum() / max(heat.sum(), 1e-9))
    model.close()
    assert np.mean(shares) >= 0.6
