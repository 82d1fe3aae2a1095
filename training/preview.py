"""A picture of augmented images, as the network is fed with them."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import numpy.typing as npt

from training.backbones.features import cached_features
from training.datasets.dataset import Dataset, Split
from training.fitting.batches import Batches
from training.fitting.class_weights import class_weights
from training.fitting.on_features.flip_check import asks_about_flip, without_harmful_flip
from training.fitting.options import FitOptions
from training.layers.layer import Layer
from training.recipes import RECIPES
from training.recipes.recipe import Recipe, RecipeError

Pixels = npt.NDArray[np.uint8]

COPIES = 9  # three by three, as the articles show one image
AS_ONE_BATCH = ("sign-mnist",)  # whose article shows the batch that its iterator gives
SMALLEST_TILE = 96  # pixels; smaller images are enlarged, or nobody could see the fingers
_GAP = 2


def preview(recipe: Recipe, train: Split, seed: int) -> Pixels:
    """One picture, uint8 [height, width, channels]: nine times one training image, or a batch of different ones.

    Raises RecipeError for a recipe that does not augment.
    """
    if not recipe.augments:
        richer = [r.name for r in RECIPES.values() if r.baseline == recipe.name]
        richer += ["finetuned"] if recipe.name == "features" else []
        instead = f"; {' and '.join(richer)} does" if richer else ""
        raise RecipeError(f"{recipe.name} feeds the images as they are{instead}")
    keras.utils.set_random_seed(seed)
    return sheet(augmented(recipe.augmentation.layers(), _chosen(recipe, train, seed)))


def as_fitted(recipe: Recipe, dataset: Dataset, options: FitOptions) -> Recipe:
    """The recipe as `fit` will fit it: without its flip where that changes the class.

    The features by which this is known are kept where the fit finds them.
    """
    if recipe.backbone is None or not asks_about_flip(recipe, dataset, options):
        return recipe
    shape, splits = recipe.input.shape, ("train", "validation")
    seen = cached_features(recipe.backbone, shape, dataset, options.feature_folder, splits, options.progress)
    return without_harmful_flip(recipe, dataset, seen, options)


def intentions(asked: Recipe, fitted: Recipe, dataset: Dataset) -> list[str]:
    """What the fit will do to images and classes, in lines for a person."""
    lines = [f"augmentation: {fitted.augmentation.words}"]
    if fitted.augmentation != asked.augmentation:
        lines.append("note: no flip, since a flipped image belongs to another class; --augment flip=1 flips them")
    if weights := class_weights(fitted, dataset, "auto"):
        said = ", ".join(f"{label} {weight:.2f}" for label, weight in zip(dataset.labels, weights, strict=True))
        lines.append(f"note: rare classes are weighed up ({said}); `fit --class-weights off` counts all images alike")
    return lines


def _chosen(recipe: Recipe, train: Split, seed: int) -> Pixels:
    if recipe.reader.name in AS_ONE_BATCH:
        batch: Pixels = Batches(train, recipe.batch_size, seed=seed)[0][0]
        return batch
    one = int(np.random.default_rng(seed).integers(len(train)))
    copies: Pixels = np.repeat(train.pixels[one : one + 1], COPIES, axis=0)
    if recipe.augmentation.alternates:
        copies[1::2] = copies[1::2, :, ::-1]
    return copies


def augmented(layers: Sequence[Layer], pixels: Pixels) -> Pixels:
    """What the layers make of a batch, uint8 [n, height, width, channels], while fitting."""
    value = keras.ops.convert_to_tensor(pixels)
    for layer in layers:
        value = layer(value, training=True)
    shown: Pixels = np.clip(np.rint(keras.ops.convert_to_numpy(value)), 0, 255).astype(np.uint8)
    return shown


def sheet(tiles: Pixels) -> Pixels:
    """Lay tiles, uint8 [n, height, width, channels], out in rows on white, about twice as wide as high at most."""
    count, height, width, channels = tiles.shape
    scale = max(1, -(-SMALLEST_TILE // min(height, width)))
    tiles = tiles.repeat(scale, axis=1).repeat(scale, axis=2)
    rows = max(r for r in range(1, int(count**0.5) + 1) if count % r == 0)
    columns = count // rows
    high, wide = height * scale + _GAP, width * scale + _GAP
    picture = np.full((rows * high - _GAP, columns * wide - _GAP, channels), 255, np.uint8)
    for i, tile in enumerate(tiles):
        top, left = (i // columns) * high, (i % columns) * wide
        picture[top : top + high - _GAP, left : left + wide - _GAP] = tile
    return picture
