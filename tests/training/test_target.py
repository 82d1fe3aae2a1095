"""Promises of `training.target`: what cannot be saved is said before the first epoch, in one line."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from classifier.card import Card
from classifier.store import ModelStore
from tests.tiny_models import COLOUR
from training.__main__ import main
from training.datasets.dataset import Dataset, Split
from training.recipes import FOR_ANY_IMAGES, RECIPES
from training.recipes.recipe import RecipeError
from training.target import check_name, check_record, check_same_model, check_writable, claimed, claimed_run


def photos(name: str, *labels: str) -> Dataset:
    split = Split(np.zeros((len(labels), 2, 2, 3), np.uint8), np.arange(len(labels)))
    return Dataset(name, labels, dict.fromkeys(("train", "validation", "test"), split))


@pytest.mark.parametrize("name", ["../evil", "Cups", "a/b", "", "-cups", "x" * 65, "cups\n", "日本"])
def test_a_bad_name_is_said_before_anything_is_read(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RecipeError, match="cannot name a model"):
        check_name(name)
    if name:
        assert main(["fit", "features", "--data", "no-such-folder", f"--name={name}"]) == 1
        assert "cannot name a model" in capsys.readouterr().err


def test_a_good_name_is_taken() -> None:
    check_name("cups-2")


def test_other_labels_under_a_name_must_be_meant(models: ModelStore) -> None:
    with pytest.raises(
        RecipeError, match=r"has the labels red, green, blue, these images have cup, plate; .*--new-labels"
    ):
        check_same_model(models, COLOUR, photos("noise", "cup", "plate"), named=True, new_labels=False)
    check_same_model(models, COLOUR, photos("noise", "cup", "plate"), named=True, new_labels=True)
    check_same_model(models, COLOUR, photos("noise", "red", "green", "blue"), named=False, new_labels=False)
    check_same_model(models, "new", photos("noise", "cup", "plate"), named=False, new_labels=False)


def test_two_folders_whose_names_come_to_the_same_are_not_one_model(models: ModelStore) -> None:
    other = photos("tiny_colour", "red", "green", "blue")
    with pytest.raises(RecipeError, match="fitted on 'noise' and not on 'tiny_colour'"):
        check_same_model(models, COLOUR, other, named=False, new_labels=False)
    check_same_model(models, COLOUR, other, named=True, new_labels=False)


@pytest.mark.parametrize("where", ["docs/runs", "docs/runs/mine", "docs/runs/points.csv"])
def test_runs_on_ones_own_photos_stay_out_of_the_records_of_the_articles(where: str, tmp_path: Path) -> None:
    (tmp_path / "docs" / "runs").mkdir(parents=True)
    (tmp_path / "docs" / "reproduction.md").write_text("# Reproduction")
    recipe = RECIPES["cats-vs-dogs-features"]
    for other in (recipe, FOR_ANY_IMAGES["features"]):
        with pytest.raises(RecipeError, match="choose another place, as runs/records"):
            check_record(tmp_path / where, other, photos("lamps", "cat", "dog"))
    check_record(tmp_path / where, recipe, photos("cats-vs-dogs", "cat", "dog"))
    check_record(tmp_path / "runs" / "records", recipe, photos("lamps", "cat", "dog"))
    check_record(None, recipe, photos("lamps", "cat", "dog"))


def test_a_second_fit_of_a_model_is_refused_while_the_first_runs(tmp_path: Path) -> None:
    with claimed(tmp_path / "models", "cups"):
        with pytest.raises(RecipeError, match="another fit of cups runs"), claimed(tmp_path / "models", "cups"):
            pass
        with claimed(tmp_path / "models", "plates"):
            pass
    with claimed(tmp_path / "models", "cups"):
        pass


def test_leftovers_of_a_killed_fit_go_and_those_of_others_stay(tmp_path: Path) -> None:
    left, others = tmp_path / ".draft-cups-abcd1234", tmp_path / ".draft-cups-new-abcd1234"
    for draft in (left, others):
        draft.mkdir()
        (draft / "model.keras").write_bytes(b"half")
    with claimed(tmp_path, "cups"):
        assert (left.exists(), others.exists()) == (False, True)


def test_a_fit_that_is_killed_while_it_saves_leaves_no_version(tmp_path: Path) -> None:
    def killed(folder: Path) -> Card:
        (folder / "model.keras").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("still alive")

    store = ModelStore(tmp_path)
    if (child := os.fork()) == 0:
        try:
            store.save("cups", killed)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert store.versions() == {}
    assert len([*tmp_path.glob(".draft-cups-*/model.keras")]) == 1
    with claimed(tmp_path, "cups"):
        assert [*tmp_path.glob(".draft-*")] == []


def test_a_store_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(RecipeError, match="versions cannot be saved there"), claimed(tmp_path / "models", "cups"):
        pass


def test_a_second_command_on_one_run_is_refused_while_the_first_writes_it(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "cups.features.seed-0"
    with claimed_run(run):
        with pytest.raises(RecipeError, match=r"another command uses .*seed-0; .*--runs"), claimed_run(run):
            pass
        with claimed_run(run.with_name("cups.features.seed-1")):
            pass
    with claimed_run(run):
        pass
    assert list(run.parent.iterdir()) == []


def test_a_place_of_the_record_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    check_writable(tmp_path / "runs" / "records")
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(RecipeError, match="taken: nothing can be kept there"):
        check_writable(tmp_path / "taken")


@pytest.fixture
def models(tiny_models_root: Path) -> ModelStore:
    return ModelStore(tiny_models_root)
