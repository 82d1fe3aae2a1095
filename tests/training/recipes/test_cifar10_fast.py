"""`cifar-10-fast` with one small group in place of three, on made pictures: it learns, resumes, and can be loaded."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from classifier.engines.keras_engine import load_network
from tests.archives import CIFAR_CLASSES, picture
from training.datasets.dataset import Dataset, Split
from training.fitting.fit import fit
from training.fitting.fitted import Fitted
from training.fitting.options import FitOptions
from training.recipes import RECIPES, cifar10_fast
from training.recipes.recipe import RecipeError

pytestmark = pytest.mark.slow

EPOCHS = 5  # Lookahead acts in the last two
RECIPE = replace(
    RECIPES["cifar-10-fast"],
    network=partial(cifar10_fast.network, widths=(32,)),
    epochs=EPOCHS,
    batch_size=20,
    steps_per_epoch=6,
    callbacks=partial(cifar10_fast.callbacks, peak_rate=0.05),  # the recipe's is for 1,024 images
)


def split(first: int, per_class: int) -> Split:
    labels = np.repeat(np.arange(10), per_class)
    seeds = np.tile(np.arange(first, first + per_class), 10)
    return Split(np.stack([picture(k, 10, s, 32) for k, s in zip(labels, seeds, strict=True)]), labels)


@pytest.fixture(scope="module")
def pictures() -> Dataset:
    return Dataset("made", CIFAR_CLASSES, {"train": split(0, 8), "validation": split(100, 2), "test": split(200, 2)})


@pytest.fixture(scope="module")
def undisturbed(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fit(RECIPE, pictures, FitOptions("cifar-10", tmp_path_factory.mktemp("undisturbed") / "run"))


def test_it_learns_pictures_that_colours_tell_apart(undisturbed: Fitted):
    assert undisturbed.history[-1].val_accuracy >= 0.9


def test_a_fit_resumed_under_lookahead_gives_the_weights_of_an_undisturbed_one(
    pictures: Dataset, undisturbed: Fitted, tmp_path: Path
):
    def ctrl_c(phase: str, done: int, total: int) -> None:
        if phase == "epochs" and done == EPOCHS - 1:
            raise KeyboardInterrupt

    options = FitOptions("cifar-10", tmp_path / "run", progress=ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        fit(RECIPE, pictures, options)
    with pytest.raises(RecipeError, match="epochs 5 -> 6"):  # another schedule
        fit(RECIPE, pictures, replace(options, epochs=6, resume=True))
    resumed = fit(RECIPE, pictures, FitOptions("cifar-10", tmp_path / "run", resume=True))
    for ours, theirs in zip(resumed.network.get_weights(), undisturbed.network.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_the_network_holds_nothing_but_layers_that_every_server_loads(undisturbed: Fitted, tmp_path: Path):
    undisturbed.network.save(tmp_path / "model.keras")
    loaded = load_network(tmp_path / "model.keras", (tmp_path / "model.keras").read_bytes())
    pixels = undisturbed.dataset.splits["test"].pixels
    np.testing.assert_allclose(np.asarray(loaded(pixels)), undisturbed.infer(pixels), atol=1e-5)
