"""`training.fitting.auto`: what is tried in which time, and what validation chooses of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier.card import BackboneRecord
from classifier.store import ModelStore
from tests.archives import photo_folders
from tests.training.tiny_backbone import SPEC, on_tiny
from training.__main__ import main
from training.datasets.dataset import Dataset, Split
from training.fitting import auto
from training.fitting.auto import Search, Tried, choose, fit_auto, title
from training.fitting.fit import fit
from training.fitting.fitted import Fitted
from training.fitting.options import FitOptions
from training.fitting.run import Epoch
from training.recipes import FOR_ANY_IMAGES
from training.recipes.recipe import Recipe

FEATURES, FINETUNED = FOR_ANY_IMAGES["features"], FOR_ANY_IMAGES["finetuned"]
LARGE, SMALL = 224, 128
LONG = 1e6  # seconds
HALF = {"train": ("a", "b"), "validation": ("c", "d"), "test": ("e", "f")}  # the files of each split
OTHERWISE = {"train": ("c", "b"), "validation": ("a", "d"), "test": ("e", "f")}


def of_side(side: int, files: Mapping[str, tuple[str, ...]] = HALF) -> Dataset:
    """Two grey images for each split, whose value says which file it is of."""
    splits = {
        name: Split(
            np.stack([np.full((side, side, 3), ord(file), np.uint8) for file in of]), np.array([0, 1]), files=of
        )
        for name, of in files.items()
    }
    return Dataset("letters", ("one", "two"), splits)


class Fits:
    """Takes the place of fits: it keeps what was asked for, and gives each recipe a validation loss."""

    def __init__(self, losses: Mapping[str, float], image_s: float = 0.0) -> None:
        self.losses = losses
        self.image_s = image_s
        self.asked: list[tuple[Recipe, Dataset, FitOptions]] = []

    def fit(self, recipe: Recipe, dataset: Dataset, options: FitOptions) -> Fitted:
        self.asked.append((recipe, dataset, options))
        images = len(dataset.splits["train"]) + len(dataset.splits["validation"])
        return Fitted(
            recipe=recipe,
            name="letters",
            dataset=dataset,
            network=None,
            history=[Epoch(1, 1.0, 0.5, 0.75, 0.5, 0.75)],
            seed=0,
            precision="float32",
            backbone=BackboneRecord(name="tiny", weights_sha256="0" * 64, seconds=self.image_s * images),
        )

    def validation_losses(self, fitted: Fitted) -> Any:
        return self.losses.get(title(fitted.recipe), 1.0) + np.array([-0.01, 0.01])


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """What is said, what is asked for and what is taken, where recipes have these validation losses."""

    def search(losses: Mapping[str, float], left_s: float = LONG, image_s: float = 0.0) -> tuple[list[str], Fits, str]:
        fits, said = Fits(losses, image_s), list[str]()
        monkeypatch.setattr(auto, "fit", fits.fit)
        monkeypatch.setattr(auto, "validation_losses", fits.validation_losses)
        asked = Search(
            dataset=of_side(LARGE),
            load=lambda spec: of_side(spec.width, OTHERWISE),
            options=FitOptions("letters", tmp_path / "letters.auto.seed-0"),
            ends=time.monotonic() + left_s,
            say=said.append,
        )
        return said, fits, title(fit_auto(asked, FEATURES, FINETUNED).recipe)

    return search


def tried(*losses: float) -> Tried:
    return Tried(fitted=None, losses=np.array(losses))  # type: ignore[arg-type]


def test_the_lowest_validation_loss_is_chosen():
    usual, other = tried(0.5, 0.6, 0.4), tried(0.3, 0.4, 0.2)
    assert choose(usual, [usual, other]) is other
    assert choose(other, [usual, other]) is other


def test_a_loss_that_is_lower_by_chance_does_not_displace_the_usual_recipe():
    usual, other = tried(0.5, 0.5, 0.5), tried(0.9, 0.1, 0.1)
    assert choose(usual, [usual, other]) is usual


def test_features_and_fine_tuning_are_tried_as_their_recipes_are(searched: Any):
    said, fits, taken = searched({})
    assert [title(recipe) for recipe, _, _ in fits.asked] == [
        "features at 128x128",
        "features at 224x224",
        "finetuned at 224x224",
        "finetuned at 128x128",
        "finetuned-all-layers at 128x128",
    ]
    assert [line.split(":")[0] for line in said] == [f"tried {title(recipe)}" for recipe, _, _ in fits.asked]
    assert fits.asked[1][0] == FEATURES
    assert fits.asked[2][0] == FINETUNED
    assert taken == "finetuned at 224x224"  # of equals


def test_small_pictures_are_fine_tuned_only_where_their_features_did_better(searched: Any):
    _, fits, taken = searched({"features at 224x224": 0.5, "finetuned at 224x224": 0.4})
    assert [recipe.input.width for recipe, _, _ in fits.asked] == [SMALL, LARGE, LARGE, LARGE]
    assert taken == "finetuned at 224x224"


@pytest.mark.parametrize(
    "best", ["features at 128x128", "finetuned at 128x128", "finetuned-all-layers at 128x128", "features at 224x224"]
)
def test_what_is_clearly_better_on_validation_is_taken(searched: Any, best: str):
    assert searched({best: 0.5})[2] == best


def test_without_time_the_features_of_small_pictures_are_taken_and_the_rest_is_named(searched: Any):
    said, fits, taken = searched({}, left_s=0.0, image_s=1.0)
    assert taken == "features at 128x128"
    assert len(fits.asked) == 1
    assert [line.split(";")[0] for line in said[1:]] == [
        "not tried: features at 224x224",
        "not tried: finetuned at 224x224",
        "not tried: finetuned at 128x128",
        "not tried: finetuned-all-layers at 128x128",
    ]
    assert "it takes 0.2 min at least, and 0.0 are left" in said[1]  # 4 images, each of (224 / 128)² seconds


def test_each_fit_has_a_folder_of_its_own_and_leaves_time_to_save(searched: Any):
    began = time.monotonic()
    _, fits, _ = searched({})
    names = [options.run_folder.name for _, _, options in fits.asked]
    assert len({*names}) == len(names)
    assert all(name.startswith("letters.auto.seed-0.") for name in names)
    for _, _, options in fits.asked:
        assert options.deadline is not None
        assert options.deadline < began + LONG


def test_pictures_of_both_sizes_are_dealt_alike(searched: Any):
    _, fits, _ = searched({})
    for _, dataset, _ in fits.asked:
        assert {name: split.files for name, split in dataset.splits.items()} == HALF
        assert dataset.splits["validation"].pixels[:, 0, 0, 0].tolist() == [ord("c"), ord("d")]


@pytest.mark.slow
def test_fine_tuning_ends_with_the_epoch_in_which_time_is_over(tmp_path: Path):
    rng = np.random.default_rng(0)
    splits = {
        name: Split(rng.integers(0, 256, (16, *SPEC.shape), np.uint8), np.arange(16) % 2)
        for name in ("train", "validation")
    }
    recipe = on_tiny("finetuned")
    options = FitOptions("noise", tmp_path / "noise", precision="float32", deadline=time.monotonic())
    fitted = fit(recipe, Dataset("noise", ("one", "two"), splits), options)
    assert len(fitted.history) == recipe.head_epochs(recipe.epochs) + 1 < recipe.epochs


@pytest.mark.slow
def test_ones_own_photos_become_a_version_with_what_was_tried_and_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(auto, "ALL_LAYERS_EPOCHS", 1)
    for name in ("features", "finetuned"):
        monkeypatch.setitem(FOR_ANY_IMAGES, name, on_tiny(name))
    photos = photo_folders(tmp_path / "lamps", ("red", "green", "blue"), per_class=20, side=24)
    assert main(["fit", "auto", "--data", str(photos), "--precision", "float32"]) == 0
    said = capsys.readouterr().out.splitlines()
    tries = [line.removeprefix("tried ").split(":")[0] for line in said if line.startswith("tried ")]
    assert tries == ["features at 24x24", "finetuned at 24x24", "finetuned-all-layers at 24x24"]
    (chosen,) = (line for line in said if line.startswith("chosen: "))
    card = ModelStore(tmp_path / "models").card("lamps")
    assert chosen == f"chosen: {card.recipe} at {card.input.width}x{card.input.height}, by validation loss"
    assert sum(line.startswith("advice: ") for line in said) == 1
    assert any("95 % interval" in line for line in said)
    assert not [*Path("runs").glob("lamps.auto*")]
