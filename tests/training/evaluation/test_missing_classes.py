"""What an evaluation folder may lack or have too much of: nothing is shifted, and nothing is left out unnamed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from classifier.commands.cli import main
from tests.archives import photo_folders
from tests.tiny_models import COLOUR


def evaluated(models: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, float | None]:
    """Recall by label."""
    assert main(["evaluate", COLOUR, "--data", str(photos), "--models", str(models), "--json"]) == 0
    return {row["label"]: row["recall"] for row in json.loads(capsys.readouterr().out)["classes"]}


@pytest.mark.parametrize("left", ["gone", "empty"])
def test_a_class_without_images_has_no_recall_and_shifts_no_other(
    left: str, tiny_models_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = photo_folders(tmp_path / "lamps", ("red", "green", "blue"), per_class=20, side=12)
    whole = evaluated(tiny_models_root, photos, capsys)
    shutil.rmtree(photos / "green")
    if left == "empty":
        (photos / "green").mkdir()
    assert evaluated(tiny_models_root, photos, capsys) == {**whole, "green": None}


def test_a_class_that_the_model_does_not_have_is_named(
    tiny_models_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = photo_folders(tmp_path / "lamps", ("red", "green", "blue", "amber"), per_class=5, side=12)
    assert main(["evaluate", COLOUR, "--data", str(photos), "--models", str(tiny_models_root)]) == 1
    assert "amber: not among the labels of the model, which are red, green, blue" in capsys.readouterr().err


def test_an_accuracy_of_few_images_stands_with_its_interval_and_is_said_to_be_of_few(
    tiny_models_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = photo_folders(tmp_path / "lamps", ("red", "green"), per_class=4, side=12)
    command = ["evaluate", COLOUR, "--data", str(photos), "--models", str(tiny_models_root)]
    assert main([*command, "--json"]) == 0
    low, high = json.loads(capsys.readouterr().out)["interval"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert f"95 % interval {low:.4f} to {high:.4f}" in said
    assert "note: 8 images are few" in said


def test_files_that_are_left_out_are_named_with_the_reason(
    tiny_models_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = photo_folders(tmp_path / "lamps", ("red", "green", "blue"), per_class=4, side=12)
    for number in range(12):
        (photos / "red" / f"empty-{number:02}.jpg").touch()
    command = ["evaluate", COLOUR, "--data", str(photos), "--models", str(tiny_models_root)]
    assert main(command) == 0
    said = capsys.readouterr().out.splitlines()
    at = said.index("files skipped: 12")
    assert "  red/empty-00.jpg: expected a JPEG" in said[at + 1]
    assert said[at + 11] == "  and 2 more; --json names all"
    assert main([*command, "--json"]) == 0
    skipped = json.loads(capsys.readouterr().out)["skipped_files"]
    assert [each["file"] for each in skipped] == [f"red/empty-{number:02}.jpg" for number in range(12)]
