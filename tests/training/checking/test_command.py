"""`sightline check DATA`: what a person and a script meet."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from classifier.card import GroupedAccuracy
from classifier.commands.cli import main
from classifier.store import ModelStore
from tests.archives import folder_of, photo_folders
from tests.tiny_models import COLOUR
from tests.training.checking.photos import folder_files
from training.checking.check import Checked
from training.checking.finding import Finding
from training.reports.checking.text import record_line, warnings


@pytest.fixture
def files() -> dict[str, bytes]:
    return folder_files({"cup": range(10), "plate": range(50, 60)})


def test_a_person_reads_the_verdict_first_then_what_to_do(
    tmp_path: Path, files: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    data = folder_of(tmp_path / "photos", files | {"plate/x.jpg": files["cup/1.jpg"]})
    assert main(["check", str(data), "--features", "none"]) == 0
    first, _, blank, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("photos: 21 images of 2 classes; 1 problem")
    assert (blank, rest[0]) == ("", "problem: 2 images lie under two labels")
    assert "  cup/1.jpg, plate/x.jpg: cup and plate: the same pixels" in rest


def test_a_script_gets_json_and_with_strict_an_exit_code(
    tmp_path: Path, files: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    sound = folder_of(tmp_path / "sound", files)
    assert main(["check", str(sound), "--strict", "--features", "none"]) == 0
    capsys.readouterr()
    data = folder_of(tmp_path / "photos", files | {"plate/x.jpg": files["cup/1.jpg"]})
    assert main(["check", str(data), "--strict", "--json", "--features", "none"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["classes"] == ["cup", "plate"]
    (conflict,) = [each for each in found["findings"] if each["kind"] == "conflict"]
    assert conflict["cases"][0]["files"] == ["cup/1.jpg", "plate/x.jpg"]


def test_a_wrong_path_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "gone")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def leaking() -> Checked:
    found = (
        Finding("leak", "problem", "3 of 9 test images are in train too", "", 3, (), "test"),
        Finding("conflict", "problem", "2 images lie under two labels", "", 2),
        Finding("shortcut", "warning", "The format alone tells a from b in 100% (chance: 50%)", "", 18),
        Finding("copies", "note", "1 image is a copy", "", 1),
    )
    return Checked("photos", ("a", "b"), {"train": 9, "test": 9}, found, 1.0)


def test_a_fit_warns_in_at_most_five_lines_and_says_where_to_look() -> None:
    many = Checked("p", ("a", "b"), {}, leaking().findings[:3] * 4, 1.0)
    assert len(warnings(many, Path("my photos"))) == 5
    assert warnings(many, Path("my photos"))[-2:] == [
        "note: 9 more of the kind",
        "note: sightline check 'my photos' names the images",
    ]
    assert [line for line in warnings(leaking(), Path("p")) if "copy" in line] == []
    assert warnings(Checked("p", ("a", "b"), {}, leaking().findings[3:], 1.0), Path("p")) == []


def test_the_card_keeps_what_flatters_the_accuracy() -> None:
    record = leaking().record
    assert (record.leaked, record.conflicts) == ({"test": 3}, 2)
    assert record_line(record, {"train": 9, "test": 9}) == (
        "3 of 9 test images known from training, 2 images under two labels, "
        "shortcuts: The format alone tells a from b in 100% (chance: 50%)"
    )
    nothing = Checked("p", ("a", "b"), {}, (), 1.0).record
    assert record_line(nothing, {}) == "no copies across splits, no conflicts"


def test_an_evaluation_shows_what_the_card_says_of_the_data(
    tiny_models_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = shutil.copytree(tiny_models_root, tmp_path / "models")
    store = ModelStore(models)
    lamps = photo_folders(tmp_path / "lamps", ("red", "green", "blue"), per_class=10, side=12)
    asked = ["evaluate", COLOUR, "--data", str(lamps), "--models", str(models)]
    assert main(asked) == 0
    assert "data of its fit" not in capsys.readouterr().out
    store.update(store.card(COLOUR).model_copy(update={"data_check": leaking().record}))
    assert main(asked) == 0
    assert "data of its fit    3 of " in capsys.readouterr().out
    assert main([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data_check"]["leaked"] == {"test": 3}


def test_an_evaluation_shows_the_accuracy_where_like_images_stay_together(
    tiny_models_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ModelStore(shutil.copytree(tiny_models_root, tmp_path / "models"))
    grouped = GroupedAccuracy(images=90, groups=12, networks=5, accuracy=0.8, interval=(0.7, 0.9))
    store.update(store.card(COLOUR).model_copy(update={"grouped": grouped}))
    lamps = photo_folders(tmp_path / "lamps", ("red", "green", "blue"), per_class=5, side=12)
    assert main(["evaluate", COLOUR, "--data", str(lamps), "--models", str(store.root)]) == 0
    assert "by groups          0.8000 (0.7000 to 0.9000): 5 networks of its recipe" in capsys.readouterr().out
