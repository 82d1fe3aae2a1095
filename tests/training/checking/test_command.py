"""`sightline check DATA`: what a person and a script meet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from classifier.commands.cli import main
from tests.archives import folder_of
from tests.training.checking.photos import folder_files


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
