"""`python -m training COMMAND`: what a person at a terminal meets."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from classifier.card import InputSpec
from classifier.engines.openvino import supports_bfloat16
from classifier.store import ModelStore
from tests.archives import cats_vs_dogs_zip, photo_folders
from tests.tiny_models import COLOUR
from training.__main__ import COMMANDS, main
from training.evaluation.rates import RATES, RatesRecord, read_rates
from training.fitting.run import Epoch
from training.recipes import FOR_ANY_IMAGES, RECIPES
from training.recipes.recipe import Recipe

ROOT = Path(__file__).parents[2]
COLOURS = ("red", "green", "blue")
LETTERS = RECIPES["asl-augmented"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo_folders(tmp_path_factory.mktemp("photos") / "lamps", COLOURS, per_class=30, side=12)


def evaluated(models: Path, photos: Path, *more: str, model: str = COLOUR) -> list[str]:
    return ["evaluate", model, "--data", str(photos), "--models", str(models), *more]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 4


def test_the_help_of_fit_says_how_long_a_search_may_take(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--help"]) == 0
    assert "auto (10 minutes; else --minutes N)" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["list"], ["--help"], ["fit", "--help"]], ids=" ".join)
def test_what_needs_no_network_does_not_wait_for_tensorflow(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from training.__main__ import main\n"
        "main(sys.argv[1:])\n"
        "assert not {'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize(("command", "backend"), [("fit", "torch"), ("preview", "torch"), ("preview", "jax")])
def test_training_on_another_backend_of_keras_is_refused(
    command: str, backend: str, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", backend)
    assert main([command, "asl-augmented", "--data", str(photos)]) == 1
    assert f"this runs on TensorFlow, and KERAS_BACKEND is {backend}; unset it" in capsys.readouterr().err


TWO_WORKERS = json.dumps(
    {"cluster": {"worker": ["localhost:1", "localhost:2"]}, "task": {"type": "worker", "index": 0}}
)


@pytest.mark.parametrize(
    ("words", "config"),
    [("auto", ""), ("features --folds 2", ""), ("asl-augmented", TWO_WORKERS)],
    ids=["auto", "folds", "two workers"],
)
def test_on_jax_only_one_fit_on_one_machine_is_made(
    words: str, config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("TF_CONFIG", config)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "jax" or None)
    assert main(["fit", *words.split(), "--data", "."]) == 1
    assert "KERAS_BACKEND=jax trains one recipe on one machine; unset it" in capsys.readouterr().err


def test_a_fit_on_jax_where_that_is_not_installed_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["fit", "features", "--data", "."]) == 1
    assert 'KERAS_BACKEND is jax, which is not installed: `pip install "sightline[jax]"`' in capsys.readouterr().err


def test_the_list_names_every_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    assert [line.split()[0] for line in listed.splitlines()] == [*RECIPES, *FOR_ANY_IMAGES]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["auto", "--epochs", "3"], "auto chooses the epochs"),
        (["auto", "--folds", "3"], "without folds"),
        (["auto", "--minutes", "0"], "expected a whole number"),
        (["features", "--minutes", "3"], "--minutes is for `fit auto`"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_does_not_go_with_a_search_of_the_recipe_is_refused(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", *words, "--data", "."]) == 2
    assert reason in " ".join(capsys.readouterr().err.split())


def test_a_mistake_is_named_in_one_line_and_by_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "asl-augmentd", "--data", "."]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: no recipe 'asl-augmentd'; there is: auto, ")
    assert len(said.splitlines()) == 1


def test_a_model_is_evaluated_on_a_plain_folder_of_class_folders(
    tiny_models_root: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(evaluated(tiny_models_root, photos, "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["model"], found["version"]) == (COLOUR, 2)
    assert found["data"] == {
        "name": "lamps",
        "split": "all",
        "images": 90,
        "skipped": 0,
        "left_out": None,
        "same_as_fitted": False,
    }
    assert [row["label"] for row in found["classes"]] == list(COLOURS)
    recalls = [row["recall"] * row["images"] for row in found["classes"]]
    assert sum(recalls) / 90 == pytest.approx(found["accuracy"])
    assert sum(c["images"] for c in found["confusions"]) == pytest.approx(90 * (1 - found["accuracy"]))
    assert sum(each["images"] for each in found["calibration"]["bins"]) == 90
    assert len(found["calibration"]["bins"]) == 15
    assert 0 <= found["calibration"]["error"] <= 1
    assert found["loss"] > 0
    assert found["milliseconds_per_image"] > 0


def test_a_person_reads_the_same_figures(
    tiny_models_root: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(evaluated(tiny_models_root, photos, "--json")) == 0
    accuracy = json.loads(capsys.readouterr().out)["accuracy"]
    assert main(evaluated(tiny_models_root, photos)) == 0
    said = capsys.readouterr().out
    assert f"accuracy           {accuracy:.4f}" in said
    for words in ("calibration error", "time per image", "precision  recall", "--out DIR", *COLOURS):
        assert words in said


def test_pictures_and_json_are_written_where_asked(tiny_models_root: Path, photos: Path, tmp_path: Path) -> None:
    assert main(evaluated(tiny_models_root, photos, "--out", str(tmp_path / "new"))) == 0
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [
        "confusion.png",
        "evaluation.json",
        "reliability.png",
    ]
    with Image.open(tmp_path / "new" / "reliability.png") as picture:
        assert picture.size > (100, 100)


def test_what_drift_is_to_expect_is_kept_in_the_card_where_asked(
    tiny_models_root: Path, photos: Path, tmp_path: Path
) -> None:
    models = shutil.copytree(tiny_models_root, tmp_path / "models")
    before = ModelStore(models).card(COLOUR)
    assert main(evaluated(models, photos)) == 0
    assert ModelStore(models).card(COLOUR) == before
    assert main(evaluated(models, photos, "--expected")) == 0
    card = ModelStore(models).verify(COLOUR)
    assert card.expected is not None
    assert (card.expected.data, card.expected.split, card.expected.images) == ("lamps", "all", 90)
    assert card.model_copy(update={"expected": None}) == before


def test_every_version_can_be_evaluated(
    tiny_models_root: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(evaluated(tiny_models_root, photos, "--json", model=f"{COLOUR}@1")) == 0
    assert json.loads(capsys.readouterr().out)["version"] == 1
    assert main(evaluated(tiny_models_root, photos, model=f"{COLOUR}@9")) == 1
    assert "no version 9" in capsys.readouterr().err


@pytest.mark.parametrize("engine", ["openvino", "tensorflow"])
def test_either_engine_can_be_evaluated_and_they_agree(
    engine: str, tiny_models_root: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = []
    for chosen in ("openvino", engine):
        assert main(evaluated(tiny_models_root, photos, "--json", "--engine", chosen, "--precision", "float32")) == 0
        figures.append(json.loads(capsys.readouterr().out))
    assert figures[1]["engine"]["name"] == engine
    assert figures[0]["accuracy"] == figures[1]["accuracy"]
    assert figures[0]["loss"] == pytest.approx(figures[1]["loss"], abs=1e-4)


def test_folders_that_the_model_does_not_know_are_named(
    tiny_models_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = photo_folders(tmp_path / "lamps", ("red", "violet"), per_class=3)
    assert main(evaluated(tiny_models_root, photos)) == 1
    assert "violet: not among the labels" in capsys.readouterr().err


def test_a_version_that_is_no_number_is_refused(tmp_path: Path) -> None:
    assert main(evaluated(tmp_path, tmp_path, model=f"{COLOUR}@latest")) == 2


def test_a_preview_is_written_as_a_picture(data_for: Callable[[Recipe], Path], tmp_path: Path) -> None:
    out = tmp_path / "new" / "letters.png"
    assert main(["preview", LETTERS.name, "--data", str(data_for(LETTERS)), "--limit", "48", "--out", str(out)]) == 0
    with Image.open(out) as picture:
        assert (picture.size, picture.mode) == ((8 * 114 - 2, 4 * 114 - 2), "L")


@pytest.mark.slow
def test_a_fit_says_nothing_but_what_it_does_and_its_card_says_where_and_when(
    data_for: Callable[[Recipe], Path], tmp_path: Path
) -> None:
    command = ["fit", LETTERS.name, "--data", str(data_for(LETTERS)), "--limit", "240", "--epochs", "1"]
    folders = ["--models", str(tmp_path / "models"), "--runs", str(tmp_path / "runs")]
    done = subprocess.run(
        [sys.executable, "-m", "training", *command, *folders], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[0].startswith("sign-mnist: train 240")
    assert done.stdout.splitlines()[-4].startswith("saved ")
    assert [line.split()[:3] for line in done.stdout.splitlines()[-3:]] == [
        ["next:", "sightline", "serve"],
        ["next:", "sightline", "evaluate"],
        ["next:", "sightline", "release"],
    ]
    training = ModelStore(tmp_path / "models").card("asl").training
    assert training.machine is not None
    assert training.machine.endswith(" cores")
    assert training.finished is not None
    assert len(training.finished) == len("2026-01-31")


@pytest.mark.slow
def test_engines_are_compared_again_on_the_data_of_the_fit_and_only_the_checks_change(
    data_for: Callable[[Recipe], Path], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, models = str(data_for(LETTERS)), ModelStore(tmp_path / "models")
    folders = ["--models", str(models.root), "--runs", str(tmp_path / "runs")]
    assert main(["fit", LETTERS.name, "--data", data, "--epochs", "1", *folders]) == 0
    fitted = models.card("asl")
    forged = fitted.checks[0].model_copy(update={"same_top_class": 0.5})
    models.update(fitted.model_copy(update={"checks": (forged,)}))
    assert main(["recheck", "asl@1", "--data", data, "--models", str(models.root)]) == 0
    assert "same top class 100.00%" in capsys.readouterr().out
    assert models.card("asl").model_dump(exclude={"checks"}) == fitted.model_dump(exclude={"checks"})
    assert [check.same_top_class for check in models.card("asl").checks] == [
        check.same_top_class for check in fitted.checks
    ]
    assert main(["recheck", "asl", "--data", str(photos), "--models", str(models.root)]) != 0


@pytest.mark.slow
def test_the_pipelines_speed_the_networks_and_both_are_measured(
    data_for: Callable[[Recipe], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["pipeline", LETTERS.name, "--data", str(data_for(LETTERS)), "--limit", "96", "--batches", "2"]
    assert main([*command, "--rounds", "2", "--record", str(tmp_path), "--json"]) == 0
    record = read_rates(tmp_path / LETTERS.name / RATES)
    assert record == RatesRecord.model_validate_json(capsys.readouterr().out)
    assert (record.recipe, record.batches, len(record.rounds)) == (LETTERS.name, 2, 2)
    assert all(rate > 0 for each in record.rounds for rate in (each.pipeline, each.network, each.both))
    assert main([*command, "--rounds", "1"]) == 0
    assert "of the slower" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(not supports_bfloat16(), reason="this processor has no native bfloat16")
def test_mixed_bfloat16_takes_the_course_of_float32_within_the_noise_of_seeds(tmp_path: Path) -> None:
    from training.fitting.fit import fit
    from training.fitting.options import FitOptions

    spec = InputSpec(height=48, width=48, channels=3)
    recipe = replace(RECIPES["cats-vs-dogs-blog"], input=spec, steps_per_epoch=4, epochs=2)
    data = recipe.reader.load(cats_vs_dogs_zip(tmp_path / "pets.zip", per_class=32), spec, limit=64)

    def history(precision: Literal["float32", "bfloat16"], seed: int) -> list[Epoch]:
        folder = tmp_path / f"{precision}-{seed}"
        return fit(recipe, data, FitOptions("pets", folder, seed=seed, precision=precision)).history

    full, mixed = ([history(precision, seed) for seed in range(3)] for precision in ("float32", "bfloat16"))
    losses = [np.array([[row.val_loss for row in course] for course in courses]) for courses in (full, mixed)]
    noise = np.ptp(losses[0], axis=0)
    assert (np.abs(losses[1].mean(axis=0) - losses[0].mean(axis=0)) <= noise).all()
    for course in (*full, *mixed):
        assert course[-1].val_accuracy == 1.0
