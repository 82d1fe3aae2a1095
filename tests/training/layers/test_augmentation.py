"""`training.layers.augmentation`: settings as data, and the layers that they mean."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from training.layers.augmentation import GREY, Augmentation
from training.recipes import FOR_ANY_IMAGES, RECIPES
from training.recipes.recipe import Recipe, RecipeError

AUGMENTING = [recipe for recipe in (RECIPES | FOR_ANY_IMAGES).values() if recipe.augments]
SETTINGS = {"rotation_degrees": 20.0, "shift": 0.2, "shear_degrees": 5.0, "zoom": 0.3, "contrast": 0.5, "cutout": 0.5}


def varied(augmentation: Augmentation, pixels: np.ndarray) -> np.ndarray:
    value = pixels
    for layer in augmentation.layers():
        value = layer(value, training=True)
    return np.asarray(value)


@pytest.mark.parametrize("by", ["affine", "layers"])
@pytest.mark.parametrize("setting", [*SETTINGS, "horizontal_flip"])
def test_each_setting_alone_changes_images(setting: str, by: str):
    if (setting, by) == ("shear_degrees", "layers"):
        pytest.skip("Keras has no layer for it")
    keras.utils.set_random_seed(0)  # or none of the eight is flipped once in 256 runs
    pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3)).astype(np.float32)
    augmentation = Augmentation(**{setting: SETTINGS.get(setting, True)}, by=by)  # type: ignore[arg-type]
    assert not np.allclose(varied(augmentation, pixels), pixels, atol=0.5)
    assert augmentation.settings == {setting: SETTINGS.get(setting, True), "interpolation": "bilinear", "by": by}


def test_without_a_setting_there_is_no_layer_and_nothing_to_record():
    assert not Augmentation()
    assert Augmentation().layers() == []
    assert Augmentation(interpolation="nearest", by="layers").settings == {}


@pytest.mark.parametrize("recipe", AUGMENTING, ids=lambda recipe: recipe.name)
def test_every_setting_of_every_recipe_can_be_switched_off(recipe: Recipe):
    acting = {
        name: value for name, value in recipe.augmentation.settings.items() if name not in ("by", "interpolation")
    }
    for name, value in acting.items():
        without = recipe.with_augmentation({name: type(value)()}).augmentation
        assert name not in without.settings
        assert dataclasses.replace(without, **{name: value}) == recipe.augmentation
    assert not recipe.with_augmentation({name: type(value)() for name, value in acting.items()}).augments


def test_a_recipe_on_features_alone_says_that_it_never_augments():
    with pytest.raises(RecipeError, match="finetuned augments them"):
        FOR_ANY_IMAGES["features"].with_augmentation({"horizontal_flip": True})


def test_the_books_rotation_is_a_tenth_of_a_turn():
    layers = {type(layer).__name__: layer for layer in RECIPES["cats-vs-dogs-180-augmented"].augmentation.layers()}
    assert list(layers) == ["RandomFlip", "RandomRotation", "RandomZoom"]
    assert layers["RandomRotation"].get_config()["factor"] == (-0.1, 0.1)


def test_an_alternating_flip_is_no_layer_and_says_what_it_does():
    augmentation = Augmentation(horizontal_flip=True, by="alternating")
    assert augmentation.alternates
    assert augmentation
    assert augmentation.layers() == []
    assert augmentation.words == "flipped in every other epoch"
    assert not Augmentation(shift=0.1, by="alternating").alternates


def test_cutout_hides_a_square_of_each_image_which_lies_anywhere_inside():
    pixels = np.zeros((64, 16, 16, 3), np.float32)
    hidden = varied(Augmentation(cutout=0.25), pixels)
    assert set(np.unique(hidden)) == {0.0, GREY}
    assert all((image[..., 0] == GREY).sum() == 16 for image in hidden)  # four by four
    assert len({tuple(np.argwhere(image[..., 0] == GREY)[0]) for image in hidden}) > 20
