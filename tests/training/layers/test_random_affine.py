from __future__ import annotations

import math

import keras
import numpy as np
import pytest

from training.layers.augmentation import Augmentation
from training.layers.random_affine import RandomAffine

EVERYTHING = {"rotation_degrees": 40.0, "shift": 0.2, "shear_degrees": 10.0, "zoom": 0.3}
SIDE = 16


def maps_of(layer: RandomAffine, count: int = 500, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """Matrices float32 [count, 3, 3] from (x, y, 1) of the result to (x, y, 1) of the image."""
    rows = np.asarray(layer.maps(count, height, width))
    assert not rows[:, 6:].any()
    return np.concatenate([rows[:, :6].reshape(-1, 2, 3), np.tile([[[0.0, 0.0, 1.0]]], (count, 1, 1))], axis=1)


def composed(drawn: np.ndarray, height: int, width: int) -> np.ndarray:
    """The matrix of numbers drawn from [-1, 1], written out as `apply_affine_transform` of Keras composes it."""
    angle, shear = math.radians(drawn[0] * 40.0), math.radians(drawn[3] * 10.0)
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    steps = [
        [[1, 0, centre_x], [0, 1, centre_y], [0, 0, 1]],
        [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]],
        [[1, 0, drawn[1] * 0.2 * width], [0, 1, drawn[2] * 0.2 * height], [0, 0, 1]],
        [[1, -math.sin(shear), 0], [0, math.cos(shear), 0], [0, 0, 1]],
        [[1 + drawn[4] * 0.3, 0, 0], [0, 1 + drawn[5] * 0.3, 0], [0, 0, 1]],
        [[1, 0, -centre_x], [0, 1, -centre_y], [0, 0, 1]],
    ]
    return np.linalg.multi_dot([np.array(step, np.float64) for step in steps])


@pytest.mark.parametrize(("height", "width"), [(16, 16), (20, 12)], ids=["square", "upright"])
def test_the_map_is_that_of_image_data_generator(height: int, width: int):
    drawn = np.asarray(keras.random.uniform((6, 20), -1.0, 1.0, seed=keras.random.SeedGenerator(5)))
    expected = [composed(numbers, height, width) for numbers in drawn.T]
    np.testing.assert_allclose(maps_of(RandomAffine(**EVERYTHING, seed=5), 20, height, width), expected, atol=1e-4)


def test_a_rotation_fills_its_range():
    maps = maps_of(RandomAffine(rotation_degrees=30))
    degrees = np.degrees(np.arctan2(maps[:, 1, 0], maps[:, 0, 0]))
    assert -30 <= degrees.min() < -28
    assert 28 < degrees.max() <= 30
    np.testing.assert_allclose(np.linalg.det(maps), 1.0, atol=1e-5)


def test_shifts_are_drawn_apart_for_each_axis_as_a_fraction_of_its_side():
    right, down = maps_of(RandomAffine(shift=0.1), height=10, width=40)[:, :2, 2].T
    assert 3.8 < np.abs(right).max() <= 4.0
    assert 0.9 < np.abs(down).max() <= 1.0
    assert abs(np.corrcoef(right, down)[0, 1]) < 0.2


def test_zoom_is_drawn_apart_for_each_axis():
    wide, tall = (maps_of(RandomAffine(zoom=0.5))[:, axis, axis] for axis in (0, 1))
    for factor in (wide, tall):
        assert 0.5 <= factor.min() < 0.53
        assert 1.47 < factor.max() <= 1.5
    assert abs(np.corrcoef(wide, tall)[0, 1]) < 0.2


def test_shear_is_in_degrees():
    slant = maps_of(RandomAffine(shear_degrees=20))[:, 0, 1]
    assert 0.95 * math.sin(math.radians(20)) < np.abs(slant).max() <= math.sin(math.radians(20)) + 1e-6


def test_every_image_of_a_batch_gets_its_own_draw():
    image = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3)).astype(np.float32)
    first, second = np.asarray(RandomAffine(**EVERYTHING)(image.repeat(2, axis=0), training=True))
    assert not np.allclose(first, second)


def test_one_pass_keeps_the_contrast_that_three_would_blur():
    stripes = np.tile(np.array([0.0, 255.0], np.float32), SIDE)[None, None, :, None].repeat(2 * SIDE, axis=1)
    stripes = stripes.repeat(64, axis=0)
    once = np.asarray(RandomAffine(rotation_degrees=30, shift=0.1, zoom=0.2, seed=1)(stripes, training=True))
    thrice = stripes
    for layer in (RandomAffine(rotation_degrees=30), RandomAffine(shift=0.1), RandomAffine(zoom=0.2)):
        thrice = np.asarray(layer(thrice, training=True))
    assert once.std() > 1.2 * thrice.std()


def test_the_nearest_pixel_is_shown_as_it_is():
    image = np.random.default_rng(0).choice([3.0, 90.0, 250.0], (8, SIDE, SIDE, 3)).astype(np.float32)
    turned = np.asarray(RandomAffine(**EVERYTHING, interpolation="nearest", seed=3)(image, training=True))
    assert set(np.unique(turned)) == {3.0, 90.0, 250.0}
    assert not np.array_equal(turned, image)


def test_what_comes_from_outside_the_image_repeats_its_edge():
    image = np.arange(SIDE, dtype=np.float32)[None, None, :, None].repeat(SIDE, axis=1)
    moved = np.asarray(RandomAffine(shift=0.5, seed=2)(image.repeat(8, axis=0), training=True))
    assert moved.min() == 0.0
    assert moved.max() == SIDE - 1
    assert (np.diff(moved, axis=2) > -1e-4).all()


def test_it_does_nothing_outside_training():
    image = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 1)).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(RandomAffine(**EVERYTHING)(image)), image)


def test_its_settings_survive_being_saved():
    layer = RandomAffine(**EVERYTHING, seed=7)
    assert RandomAffine.from_config(layer.get_config()).get_config() == layer.get_config()


def test_a_zoom_to_nothing_is_refused():
    with pytest.raises(ValueError, match=r"zoom=1\.0"):
        RandomAffine(zoom=1.0)


def test_image_data_generator_is_one_affine_step_and_an_exact_mirror():
    affine, mirror = Augmentation(**EVERYTHING, horizontal_flip=True, interpolation="nearest").layers()
    settings = {**EVERYTHING, "interpolation": "nearest"}
    assert {name: affine.get_config()[name] for name in settings} == settings
    assert type(mirror).__name__ == "RandomFlip"
    assert not Augmentation().layers()
