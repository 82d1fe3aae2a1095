from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np
import pytest

from classifier.loaded_model import LoadedModel
from classifier.store import ModelStore
from training import recipes
from training.__main__ import main
from training.fitting.networks import inference_network, training_network
from training.recipes import FOR_ANY_IMAGES, RECIPES, recipe_named
from training.recipes.recipe import Recipe, RecipeError, Statistics
from training.reports.records import RecipeRecords, read_records
from training.reports.tables import figure, several

ROOT = Path(__file__).parents[3]

PRINTED_BY_THE_ARTICLES = {"cats-vs-dogs-180-baseline": 991_041, "cats-vs-dogs-150-baseline": 3_453_121}
CLASSES = {"cats-vs-dogs": 2, "cifar-10": 10, "sign-mnist": 24}
ALL = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
AUGMENTING = pytest.mark.parametrize(
    "recipe", [r for r in RECIPES.values() if r.augments], ids=[r.name for r in RECIPES.values() if r.augments]
)


def statistics(recipe: Recipe) -> Statistics:
    return Statistics((127.0,) * recipe.input.channels, (64.0,) * recipe.input.channels)


def trained(recipe: Recipe, classes: int | None = None):
    return training_network(recipe, classes or CLASSES[recipe.reader.name], statistics(recipe), "float32")


def shipped(recipe: Recipe, classes: int | None = None):
    count = classes or CLASSES[recipe.reader.name]
    return inference_network(recipe, count, statistics(recipe), trained(recipe, classes))


@ALL
def test_a_recipe_has_the_parameters_it_states(recipe: Recipe):
    assert trained(recipe).count_params() == recipe.parameters


@pytest.mark.parametrize(("name", "count"), PRINTED_BY_THE_ARTICLES.items())
def test_the_count_is_that_printed_by_the_article(name: str, count: int):
    assert trained(RECIPES[name]).count_params() == count


@pytest.mark.slow
@ALL
def test_the_shipped_network_takes_uint8_and_gives_rows_that_sum_to_one(recipe: Recipe):
    network = shipped(recipe)
    pixels = np.random.default_rng(0).integers(0, 256, (3, *recipe.input.shape), np.uint8)
    answer = np.asarray(network(pixels))
    assert (network.inputs[0].dtype, answer.dtype) == ("uint8", np.float32)
    assert answer.shape == (3, CLASSES[recipe.reader.name])
    np.testing.assert_allclose(answer.sum(axis=1), 1.0, atol=1e-6)


@pytest.mark.slow
@AUGMENTING
def test_the_shipped_network_has_no_augmentation(recipe: Recipe):
    kinds = {type(layer).__name__ for layer in shipped(recipe).layers}
    assert not {kind for kind in kinds if kind.startswith("Random")}


@pytest.mark.slow
@AUGMENTING
def test_augmentation_acts_while_fitting_and_never_at_evaluation(recipe: Recipe):
    kinds = [layer for layer in trained(recipe).layers if type(layer).__name__.startswith("Random")]
    pixels = np.random.default_rng(0).integers(0, 256, (2, *recipe.input.shape), np.uint8).astype(np.float32)
    fitting, evaluating = pixels, pixels
    for layer in kinds:
        fitting, evaluating = layer(fitting, training=True), layer(evaluating, training=False)
    assert not np.allclose(fitting, pixels)
    np.testing.assert_array_equal(evaluating, pixels)


@AUGMENTING
def test_an_augmented_recipe_and_its_baseline_differ_in_what_the_article_changes_only(recipe: Recipe):
    if recipe.baseline is None:
        pytest.skip("the article has no run without augmentation")
    baseline = recipe_named(recipe.baseline)
    assert not baseline.augments
    assert (baseline.reader, baseline.input, baseline.parameters) == (recipe.reader, recipe.input, recipe.parameters)


def test_a_sigmoid_network_is_shipped_with_two_complementary_columns():
    recipe = RECIPES["cats-vs-dogs-blog"]
    network = trained(recipe)
    pixels = np.random.default_rng(0).integers(0, 256, (4, *recipe.input.shape), np.uint8)
    dog = np.asarray(network(pixels, training=False))[:, 0]
    answer = np.asarray(inference_network(recipe, 2, statistics(recipe), network)(pixels))
    np.testing.assert_allclose(answer, np.stack([1 - dog, dog], axis=1), atol=1e-6)


def test_a_cats_and_dogs_network_becomes_a_softmax_for_three_classes_of_ones_own():
    assert shipped(RECIPES["cats-vs-dogs-blog"], classes=3).output_shape == (None, 3)


def test_cifar_pixels_are_standardised_inside_the_network():
    recipe = RECIPES["cifar-10-augmented"]
    first = recipe.network(10, Statistics((100.0, 110.0, 120.0), (50.0, 60.0, 70.0)))[0]
    pixels = np.array([100, 170, 50], np.uint8).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(np.asarray(first(pixels)).ravel(), [0.0, 1.0, -1.0], atol=1e-4)


def test_an_unknown_recipe_is_refused_naming_those_there_are():
    with pytest.raises(RecipeError, match="asl-augmented"):
        recipe_named("asl-augmentd")


def head_of(recipe: Recipe) -> str:
    """The docstring of the module that says how to run the recipe."""
    modules = [found.name for found in pkgutil.iter_modules(recipes.__path__)]
    heads = [importlib.import_module(f"training.recipes.{module}").__doc__ or "" for module in modules]
    family = recipe.name.removesuffix("-baseline").removesuffix("-augmented")
    (head,) = [head for head in heads if re.search(rf"training fit {family}(-augmented|-baseline)? ", head)]
    return head


def minutes_and_machine(records: RecipeRecords) -> str:
    machines = several(run.card.training.machine or "not recorded" for run in records.runs)
    return f"{records.recipe.name} {mean(run.seconds for run in records.runs) / 60:.1f} minutes on {machines}"


def accuracy_and_n(records: RecipeRecords) -> str:
    return f"{records.recipe.name} test accuracy {figure(records.accuracies('test'))}, n={len(records.runs)}"


@pytest.fixture(scope="module")
def records() -> dict[str, RecipeRecords]:
    return {each.recipe.name: each for each in read_records(ROOT / "docs" / "runs")}


@pytest.mark.parametrize("recipe", (RECIPES | FOR_ANY_IMAGES).values(), ids=RECIPES | FOR_ANY_IMAGES)
def test_a_recipes_head_states_the_minutes_and_the_accuracy_of_its_record(
    recipe: Recipe, records: dict[str, RecipeRecords]
):
    head = re.sub(r" +", " ", head_of(recipe))
    for word in ("Run:", "Takes:", "Reaches:", "Article:", "Differences"):
        assert word in head
    recorded = records[f"cats-vs-dogs-{recipe.name}" if recipe.name in FOR_ANY_IMAGES else recipe.name]
    if not recorded.runs:
        assert head.count(f"{recipe.name} not run yet\n") == 2
        return
    assert minutes_and_machine(recorded) in head
    assert accuracy_and_n(recorded) in head


@pytest.mark.slow
@ALL
def test_every_recipe_fits_for_an_epoch_and_the_result_can_be_served(
    recipe: Recipe, data_for: Callable[[Recipe], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    # The schedule is tested elsewhere; a hundred steps of a recipe's own would repeat the 64 images fifty times.
    monkeypatch.setitem(RECIPES, recipe.name, replace(recipe, steps_per_epoch=2))
    command = ["fit", recipe.name, "--data", str(data_for(recipe)), "--limit", "64", "--epochs", "1"]
    assert main(command) == 0
    loaded = LoadedModel.open(ModelStore(tmp_path / "models"), recipe.model)
    assert (loaded.card.recipe, loaded.card.training.epochs_run) == (recipe.name, 1)
    assert sum(p for _, p in loaded.predict(loaded.sample)) == pytest.approx(1.0, abs=1e-5)
    loaded.close()
