"""`training.evaluation.speed`: versions take turns, and what was measured is kept as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_models import COLOUR, GREY
from training.__main__ import main
from training.evaluation.speed import read_speed
from training.recipes.recipe import RecipeError


def test_every_version_is_timed_in_every_round(
    tiny_models_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folders = [str(tiny_models_root / name) for name in (f"{COLOUR}/1", f"{COLOUR}/2", f"{GREY}/1")]
    out = tmp_path / "new" / "speed.json"
    assert main(["speed", *folders, "--rounds", "2", "--seconds", "0.05", "--out", str(out)]) == 0
    record = read_speed(out)
    assert record is not None
    assert [(v.model, v.version) for v in record.versions] == [(COLOUR, 1), (COLOUR, 2), (GREY, 1)]
    for version in record.versions:
        assert len(version.rounds) == 2
        assert min(version.rounds) > 0
        assert version.images_per_second == pytest.approx(sum(version.rounds) / 2)
    assert record.engine == "openvino"
    assert "images/s" in capsys.readouterr().out


@pytest.mark.parametrize("folder", ["", COLOUR, f"{COLOUR}/9"], ids=["a store", "a model", "no such version"])
def test_what_is_no_version_is_refused(
    folder: str, tiny_models_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["speed", str(tiny_models_root / folder), "--out", str(tmp_path / "speed.json")]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "speed.json").exists()


def test_a_record_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "speed.json").write_text('{"engine": "openvino"}')
    with pytest.raises(RecipeError, match=r"speed\.json"):
        read_speed(tmp_path / "speed.json")
    assert read_speed(tmp_path / "none.json") is None


def test_a_record_lies_beside_the_runs_unless_another_place_is_named(
    tiny_models_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert main(["speed", str(tiny_models_root / COLOUR / "1"), "--rounds", "1", "--seconds", "0.05"]) == 0
    assert read_speed(tmp_path / "runs" / "serving-speed.json") is not None
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
