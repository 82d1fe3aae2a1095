"""`training.fitting.on_features.flip_check`: a mirrored left arrow points right, a mirrored stripe is a stripe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from classifier.store import ModelStore
from tests.training.tiny_backbone import SPEC, on_tiny
from training.datasets.dataset import Dataset, Split
from training.export import save_version
from training.fitting.fit import fit
from training.fitting.on_features.flip_check import compare
from training.fitting.options import FitOptions

SIDE = SPEC.height
FINETUNED = on_tiny("finetuned")


def ramps(per_class: int, *, mirrored_is_the_other: bool) -> Dataset:
    """Two classes of sawtooths: steep on the left or on the right; or of stripes upright or level."""
    rng, labels = np.random.default_rng(0), np.tile([0, 1], per_class)
    images = []
    for label in labels:
        wave = (np.arange(SIDE) + rng.integers(0, 6)) % 6 * 40.0
        if mirrored_is_the_other:
            image = np.tile(wave[::-1] if label else wave, (SIDE, 1))
        else:
            image = np.tile(wave, (SIDE, 1)) if label else np.tile(wave, (SIDE, 1)).T
        images.append(np.clip(image + rng.normal(0, 4, image.shape), 0, 255))
    pixels = np.repeat(np.array(images, np.uint8)[..., None], 3, axis=-1)
    third = len(labels) // 3 // 2 * 2
    parts = {"train": slice(2 * third, None), "validation": slice(third, 2 * third), "test": slice(0, third)}
    return Dataset("waves", ("one", "two"), {name: Split(pixels[at], labels[at]) for name, at in parts.items()})


def options(folder: Path, **more: str) -> FitOptions:
    return FitOptions("waves", folder, precision="float32", **more)  # type: ignore[arg-type]


@pytest.mark.slow
def test_flip_is_left_out_where_a_mirrored_image_belongs_to_the_other_class(tmp_path: Path) -> None:
    fitted = fit(FINETUNED, ramps(60, mirrored_is_the_other=True), options(tmp_path / "runs" / "one"))
    assert fitted.flip_left_out
    card = save_version(ModelStore(tmp_path / "models"), fitted)
    assert card.training.augmentation is not None
    assert "horizontal_flip" not in card.training.augmentation
    assert card.training.augmentation["rotation_degrees"] == 15


@pytest.mark.slow
def test_flip_stays_where_a_mirrored_image_is_as_good(tmp_path: Path) -> None:
    fitted = fit(FINETUNED, ramps(60, mirrored_is_the_other=False), options(tmp_path / "one"))
    assert not fitted.flip_left_out
    assert fitted.recipe.augmentation.settings["horizontal_flip"] is True


@pytest.mark.slow
def test_a_person_who_asks_for_flip_gets_it(tmp_path: Path) -> None:
    data = ramps(60, mirrored_is_the_other=True)
    fitted = fit(FINETUNED, data, options(tmp_path / "one", flip="as asked"))
    assert fitted.recipe.augmentation.horizontal_flip


@pytest.mark.slow
def test_a_resumed_fit_decides_as_the_first_did(tmp_path: Path) -> None:
    data, chosen = ramps(60, mirrored_is_the_other=True), options(tmp_path / "one")
    fit(FINETUNED, data, replace(chosen, epochs=3))
    assert fit(FINETUNED, data, replace(chosen, resume=True)).flip_left_out


@pytest.mark.parametrize(
    ("images", "margin", "mirrored", "spread", "changes"),
    [
        (200, 0.4, -0.3, 0.4, True),  # arrows, many
        (32, 0.18, -0.03, 0.3, True),  # arrows, few
        (100, 0.76, 0.76, 0.3, False),  # cats and dogs
        (100, 0.6, 0.5, 0.3, False),  # a little harder
        (100, 0.0, -0.3, 0.3, False),  # nothing is known of the images as they are
        (4, 0.4, 0.1, 0.6, False),  # too few to know
        (1, 0.4, -0.4, 0.0, False),
    ],
)
def test_the_class_changes_where_most_of_the_margin_is_lost(
    images: int, margin: float, mirrored: float, spread: float, changes: bool
) -> None:
    falls = margin - mirrored + spread * np.linspace(-1, 1, images) if images > 1 else np.array([margin - mirrored])
    check = compare(np.full(images, margin), margin - falls)
    assert check.images == images
    assert check.changes_the_class is changes
