"""An evaluation folder need not have every class of the model: columns come from the card and are never shifted."""

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
