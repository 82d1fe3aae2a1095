"""Fitting on a backbone: the head on features, then the top of the whole, resumed at any epoch, and what is shipped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier.loaded_model import LoadedModel
from classifier.store import ModelStore
from tests.archives import photo_folders
from tests.training.tiny_backbone import SPEC, TINY, on_tiny
from training.__main__ import main
from training.backbones import FEATURES
from training.backbones.efficientnet_lite import LITE0, backbone_of
from training.datasets.dataset import Dataset
from training.datasets.folders import Folders
from training.fitting.fit import fit
from training.fitting.fitted import Fitted
from training.fitting.networks import inference_network, training_network
from training.fitting.options import FitOptions
from training.fitting.run import Epoch
from training.recipes import FOR_ANY_IMAGES, RECIPES
from training.recipes.airbench.optimisation import Triangle
from training.recipes.recipe import Recipe, RecipeError, Reduced, Statistics

pytestmark = pytest.mark.slow

NOTHING_KNOWN = Statistics((0.0,) * 3, (1.0,) * 3)
HEAD_EPOCHS, ALL_EPOCHS = 2, 4


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo_folders(tmp_path_factory.mktemp("photos") / "cups", ("bowl", "cup", "plate"), per_class=20, side=32)


@pytest.fixture(scope="module")
def data(photos: Path) -> Dataset:
    return Folders().load(photos, SPEC)


def fitted(recipe: Recipe, data: Dataset, folder: Path, **options: Any) -> Fitted:
    return fit(recipe, data, FitOptions("cups", folder / "run", **options))


def courses(history: list[Epoch]) -> np.ndarray:
    return np.array([row[2:] for row in history])


def test_features_train_the_head_and_leave_the_backbone_as_it_was(data: Dataset, tmp_path: Path):
    result = fitted(on_tiny(), data, tmp_path)
    fresh = training_network(on_tiny(), 3, NOTHING_KNOWN, "float32")
    for layer in ("part0", "part1", "part1_bn"):
        for ours, pretrained in zip(
            result.network.get_layer(layer).get_weights(), fresh.get_layer(layer).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, pretrained)
    assert len(result.history) == 2
    assert result.backbone is not None
    assert result.backbone.name == "tiny"


def test_the_shipped_network_answers_as_the_head_did_on_features(data: Dataset, tmp_path: Path):
    result = fitted(on_tiny(), data, tmp_path)
    answers = np.asarray(result.network(data.splits["validation"].pixels))
    right = answers.argmax(axis=1) == data.splits["validation"].labels
    best = min(result.history, key=lambda row: row.val_loss)
    assert right.mean() == pytest.approx(best.val_accuracy, abs=1e-6)


def test_fine_tuning_changes_the_top_and_neither_the_rest_nor_batch_normalisation(data: Dataset, tmp_path: Path):
    recipe = on_tiny("finetuned")
    whole = training_network(recipe, 3, NOTHING_KNOWN, "float32")
    assert {layer.name for layer in whole.layers if layer.trainable_weights} == {"part1", "probabilities"}
    fresh = [weight.copy() for name in ("part0", "part1_bn") for weight in whole.get_layer(name).get_weights()]
    kernel = whole.get_layer("part1").get_weights()[0].copy()
    whole.fit(data.splits["train"].pixels, data.splits["train"].labels, epochs=1, verbose=0)
    now = [weight for name in ("part0", "part1_bn") for weight in whole.get_layer(name).get_weights()]
    for ours, before in zip(now, fresh, strict=True):
        np.testing.assert_array_equal(ours, before)
    assert not np.allclose(whole.get_layer("part1").get_weights()[0], kernel)


def test_batch_normalisation_learns_in_the_tuned_part_where_the_recipe_says_so():
    recipe = on_tiny("finetuned")
    assert recipe.fine_tuning is not None
    recipe = replace(recipe, fine_tuning=replace(recipe.fine_tuning, normalisation=True))
    whole = training_network(recipe, 3, NOTHING_KNOWN, "float32")
    assert {layer.name for layer in whole.layers if layer.trainable_weights} == {"part1", "part1_bn", "probabilities"}


@pytest.mark.parametrize("stopped", [HEAD_EPOCHS, HEAD_EPOCHS + 1])
def test_the_rate_of_fine_tuning_begins_with_its_first_epoch_and_goes_on_where_a_fit_is_resumed(
    stopped: int, data: Dataset, uninterrupted: Fitted, tmp_path: Path
):
    def callbacks(steps: int, after: int) -> list[Any]:
        return [Triangle(steps, after, peak_rate=0.2, start=0.5, peak_at=0.25, end=0.0)]

    recipe = on_tiny("finetuned")
    assert recipe.fine_tuning is not None
    recipe = replace(recipe, fine_tuning=replace(recipe.fine_tuning, callbacks=callbacks))
    whole = fitted(recipe, data, tmp_path / "whole").history
    with pytest.raises(KeyboardInterrupt):
        fitted(recipe, data, tmp_path, heard=_stop_after(stopped))
    resumed = fitted(recipe, data, tmp_path, resume=True).history
    np.testing.assert_allclose(courses(resumed), courses(whole), atol=1e-5)
    assert not np.allclose(courses(whole)[-1], courses(uninterrupted.history)[-1], atol=1e-3)


def _stop_after(epoch: int) -> Callable[[Epoch], None]:
    def heard(row: Epoch) -> None:
        if row.epoch == epoch:
            raise KeyboardInterrupt

    return heard


def reduced_at_first(part: float = 0.5) -> Recipe:
    """Four epochs of fine-tuning, of which that part sees images of half the side."""
    recipe = on_tiny("finetuned")
    assert recipe.fine_tuning is not None
    tuning = replace(recipe.fine_tuning, reduced=Reduced(part, side=12))
    return replace(recipe, epochs=HEAD_EPOCHS + 4, fine_tuning=tuning)


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """The side that each network was built for, in order."""
    built: list[int | None] = []

    def noted(*given: Any, side: int | None = None) -> Any:
        built.append(side)
        return training_network(*given, side=side)

    monkeypatch.setattr("training.fitting.fit.training_network", noted)
    return built


def test_the_first_epochs_of_fine_tuning_see_smaller_images(data: Dataset, sides: list[int | None], tmp_path: Path):
    reduced = fitted(reduced_at_first(), data, tmp_path / "reduced")
    assert sides == [12, None]
    assert [row.epoch for row in reduced.history] == [1, 2, 3, 4, 5, 6]
    whole = fitted(reduced_at_first(part=0.0), data, tmp_path / "whole").history
    assert sides == [12, None, None]
    assert not np.allclose(courses(whole)[2], courses(reduced.history)[2], atol=1e-4)
    assert np.asarray(reduced.network(data.splits["test"].pixels)).shape == (len(data.splits["test"]), 3)


@pytest.mark.parametrize("stopped", [3, 4, 5], ids=["among smaller ones", "after them", "at full size"])
def test_a_fit_that_began_with_smaller_images_is_resumed_at_the_size_it_was_at(
    stopped: int, data: Dataset, sides: list[int | None], tmp_path: Path
):
    whole = fitted(reduced_at_first(), data, tmp_path / "whole").history
    with pytest.raises(KeyboardInterrupt):
        fitted(reduced_at_first(), data, tmp_path, heard=_stop_after(stopped))
    sides.clear()
    resumed = fitted(reduced_at_first(), data, tmp_path, resume=True).history
    assert sides == ([12, None] if stopped == 3 else [None])
    np.testing.assert_allclose(courses(resumed), courses(whole), atol=1e-5)


def test_a_fit_whose_time_ends_among_smaller_images_ends_there(data: Dataset, sides: list[int | None], tmp_path: Path):
    result = fitted(reduced_at_first(), data, tmp_path, deadline=0.0)
    assert sides == [12]
    assert len(result.history) == HEAD_EPOCHS + 1


@pytest.mark.parametrize("keeps_last", [True, False], ids=["the last", "the best"])
def test_the_epoch_is_kept_that_the_recipe_says(keeps_last: bool, data: Dataset, tmp_path: Path):
    recipe = on_tiny("finetuned")
    assert recipe.fine_tuning is not None
    worse = replace(recipe.fine_tuning, optimizer=lambda: _sgd(30.0))  # each epoch is worse than the head
    result = fitted(replace(recipe, fine_tuning=worse, keeps_last=keeps_last), data, tmp_path)
    assert (result.kept.epoch == len(result.history)) is keeps_last
    validation = data.splits["validation"]
    right = np.asarray(result.network(validation.pixels)).argmax(axis=1) == validation.labels
    assert right.mean() == pytest.approx(result.kept.val_accuracy, abs=1e-6)


def test_only_fine_tuning_sees_augmented_images_and_the_shipped_network_none():
    kinds = {
        type(layer).__name__ for layer in training_network(on_tiny("finetuned"), 3, NOTHING_KNOWN, "float32").layers
    }
    assert "RandomFlip" in kinds
    for name in FOR_ANY_IMAGES:
        whole = training_network(on_tiny(name), 3, NOTHING_KNOWN, "float32")
        shipped = {type(layer).__name__ for layer in inference_network(on_tiny(name), 3, NOTHING_KNOWN, whole).layers}
        assert not {kind for kind in shipped if kind.startswith("Random")}


@pytest.fixture(scope="module")
def uninterrupted(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fitted(on_tiny("finetuned"), data, tmp_path_factory.mktemp("uninterrupted"))


def test_the_head_comes_first_and_the_whole_after_it(uninterrupted: Fitted):
    assert [row.epoch for row in uninterrupted.history] == [1, 2, 3, 4]


def test_fine_tuning_begins_where_the_head_was_best(data: Dataset, tmp_path: Path):
    still = on_tiny("finetuned")
    assert still.fine_tuning is not None
    still = replace(still, fine_tuning=replace(still.fine_tuning, optimizer=lambda: _sgd(0.0)))
    history = fitted(still, data, tmp_path).history
    best = min(history[:HEAD_EPOCHS], key=lambda row: row.val_loss)
    np.testing.assert_allclose([row.val_loss for row in history[HEAD_EPOCHS:]], best.val_loss, rtol=1e-4)


def _sgd(rate: float) -> Any:
    from keras import optimizers

    return optimizers.SGD(rate)


@pytest.mark.parametrize("stopped", [1, 2, 3, 4], ids=["in the head", "between", "in fine-tuning", "at the end"])
def test_a_fit_resumed_after_any_epoch_takes_the_course_of_an_uninterrupted_one(
    stopped: int, data: Dataset, uninterrupted: Fitted, tmp_path: Path
):
    recipe = on_tiny("finetuned")
    fitted(recipe, data, tmp_path, epochs=stopped)
    resumed = fitted(recipe, data, tmp_path, resume=True)
    np.testing.assert_allclose(courses(resumed.history), courses(uninterrupted.history), atol=1e-5)
    pixels = data.splits["test"].pixels
    np.testing.assert_allclose(
        np.asarray(resumed.network(pixels)), np.asarray(uninterrupted.network(pixels)), atol=1e-5
    )


def never_better() -> Recipe:
    """Six epochs of the head and four of fine-tuning, of which none changes a weight; patience of one epoch."""
    recipe = on_tiny("finetuned")
    assert recipe.fine_tuning is not None
    tuning = replace(recipe.fine_tuning, after=6, optimizer=lambda: _sgd(0.0))
    return replace(recipe, l2=None, optimizer=lambda: _sgd(0.0), epochs=10, fine_tuning=tuning, patience=1)


def test_head_and_fine_tuning_end_each_when_patience_does(data: Dataset, tmp_path: Path):
    assert [row.epoch for row in fitted(never_better(), data, tmp_path / "short").history] == [1, 2, 3, 4]
    assert len(fitted(never_better(), data, tmp_path / "long", patience=0).history) == 10


@pytest.mark.parametrize("stopped", [1, 2, 3, 4], ids=["in the head", "between", "in fine-tuning", "at the end"])
def test_a_fit_that_patience_ends_is_resumed_in_the_stage_it_was_in(stopped: int, data: Dataset, tmp_path: Path):
    epochs = iter(range(stopped - 1))

    def ctrl_c(phase: str, done: int, total: int) -> None:
        if phase == "epochs" and next(epochs, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(never_better(), data, tmp_path, progress=ctrl_c)
    assert len(fitted(never_better(), data, tmp_path, resume=True).history) == 4


def test_the_same_seed_gives_the_same_course_and_another_seed_another(
    data: Dataset, uninterrupted: Fitted, tmp_path: Path
):
    recipe = on_tiny("finetuned")
    same, other = (fitted(recipe, data, tmp_path / str(seed), seed=seed).history for seed in (0, 1))
    np.testing.assert_allclose(courses(same), courses(uninterrupted.history), atol=1e-5)
    assert not np.allclose(courses(other), courses(uninterrupted.history), atol=1e-5)


def test_a_run_begun_on_one_backbone_is_not_resumed_on_another(data: Dataset, tmp_path: Path):
    fitted(on_tiny(), data, tmp_path, epochs=1)
    with pytest.raises(RecipeError, match="backbone 'tiny' -> 'other'"):
        fitted(replace(on_tiny(), backbone=replace(TINY, name="other")), data, tmp_path, resume=True)


@pytest.mark.parametrize(("after", "backbone"), [(0, TINY), (4, TINY), (2, None)], ids=["at once", "never", "of none"])
def test_fine_tuning_that_cannot_be_is_refused(after: int, backbone: Any):
    recipe = on_tiny("finetuned")
    assert recipe.fine_tuning is not None
    with pytest.raises(RecipeError, match="fine-tuning needs a backbone"):
        replace(recipe, backbone=backbone, fine_tuning=replace(recipe.fine_tuning, after=after))


@pytest.mark.parametrize("name", FOR_ANY_IMAGES)
def test_ones_own_photos_become_a_version_that_is_served(
    name: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(FOR_ANY_IMAGES, name, on_tiny(name))
    assert main(["fit", name, "--data", str(photos), "-v"]) == 0
    epochs = [line.split(":")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert epochs == [f"epoch {number}" for number in range(1, on_tiny(name).epochs + 1)]
    loaded = LoadedModel.open(ModelStore(tmp_path / "models"), "cups")
    card = loaded.card
    assert (card.recipe, card.labels) == (name, ("bowl", "cup", "plate"))
    assert card.training.backbone is not None
    assert card.training.backbone.name == "tiny"
    exact = card.check_of("openvino", "float32")
    assert exact is not None
    assert exact.same_top_class == 1.0
    loaded.close()


def test_without_the_weights_package_fit_says_what_to_install(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    without = backbone_of(LITE0._replace(package="a_package_that_is_missing"))
    monkeypatch.setitem(FOR_ANY_IMAGES, "features", replace(FOR_ANY_IMAGES["features"], backbone=without))
    assert main(["fit", "features", "--data", str(photos), "--runs", str(tmp_path)]) == 1
    assert "pip install -e .[transfer]" in capsys.readouterr().err


def test_a_recipe_from_scratch_takes_no_backbone(photos: Path, capsys: pytest.CaptureFixture[str]):
    command = ["fit", "cats-vs-dogs-blog", "--data", str(photos), "--backbone", "mobilenet-v2"]
    assert main(command) == 1
    assert "trains from scratch" in capsys.readouterr().err


def test_an_unknown_backbone_is_refused_naming_those_there_are(photos: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["fit", "features", "--data", str(photos), "--backbone", "vgg-16"]) == 1
    said = capsys.readouterr().err
    for name in ("efficientnet-lite0", "efficientnet-lite1", "mobilenet-v2", "efficientnet-v2-b0"):
        assert name in said


@pytest.mark.parametrize("name", ["cats-vs-dogs-features", "cats-vs-dogs-finetuned"])
def test_cats_and_dogs_are_split_as_for_the_recipes_from_scratch(name: str):
    assert RECIPES[name].reader == RECIPES["cats-vs-dogs-180-augmented"].reader


def test_the_parts_that_fine_tuning_thaws_end_before_the_features():
    recipe = RECIPES["cats-vs-dogs-finetuned"]
    names = [
        layer.name for layer in training_network(recipe, 2, NOTHING_KNOWN, "float32").layers if layer.trainable_weights
    ]
    assert names[-1] == "probability"
    assert FEATURES not in names
    assert not [name for name in names if name.endswith("_bn")]


def test_recipes_for_any_images_have_patience_and_those_of_articles_keep_their_schedules():
    assert all(recipe.patience for recipe in FOR_ANY_IMAGES.values())
    assert not any(recipe.patience or recipe.l2 for recipe in RECIPES.values())


def test_a_stopped_fit_is_either_resumed_or_begun_anew(photos: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["fit", "features", "--data", str(photos), "--resume", "--restart"]) == 2
    assert "choose one" in capsys.readouterr().err
