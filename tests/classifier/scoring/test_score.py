"""`sightline score`: images in, a table out, whatever happens on the way."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from classifier.commands.cli import main
from classifier.loaded_model import LoadedModel
from classifier.scoring.parts import remove
from classifier.scoring.rows import UnusableOutput
from classifier.scoring.score import Finished, Scoring, score
from classifier.scoring.shards import WHOLE, Shard
from classifier.scoring.sources import UnusableInput, source_of
from classifier.store import ModelStore
from tests.classifier.scoring.photos import FAULTS, faulty_pictures, good_pictures
from tests.sources import ROOT
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.slow  # each job starts a decode process

CHILD = """
import sys
from pathlib import Path
from classifier.loaded_model import LoadedModel
from classifier.scoring.score import Scoring, score
from classifier.scoring.sources import source_of
from classifier.store import ModelStore
if __name__ == "__main__":
    models, photos, out = sys.argv[1:]
    loaded = LoadedModel.open(ModelStore(Path(models)), "tiny-colour")
    score(loaded, Scoring(source_of(photos), photos, Path(out), processes=1, part_rows=32))
"""


@pytest.fixture(scope="module")
def loaded(tiny_models_root: Path) -> Iterator[LoadedModel]:
    with closing(LoadedModel.open(ModelStore(tiny_models_root), COLOUR)) as model:
        yield model


def scored(loaded: LoadedModel, photos: Path, out: Path, shard: Shard = WHOLE, part_rows: int = 64) -> Finished:
    job = Scoring(source_of(str(photos)), str(photos), out, shard, processes=1, part_rows=part_rows)
    return score(loaded, job)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_image_has_a_row_and_a_faulty_one_its_reason(loaded: LoadedModel, tmp_path: Path):
    photos, out = faulty_pictures(good_pictures(tmp_path / "photos", 70)), tmp_path / "out.csv"
    assert scored(loaded, photos, out) == Finished(rows=73, failed=3, new=73)
    found = rows(out)
    assert [row["path"] for row in found] == [item.name for item in source_of(str(photos)).items()]
    assert {row["path"]: row["error"] for row in found if row["error"]} == FAULTS
    for row in (row for row in found if not row["error"]):
        expected = loaded.classify([(photos / row["path"]).read_bytes()])[0]
        shown = [float(row[f"probability_{label}"]) for label in loaded.card.labels]
        np.testing.assert_allclose(shown, expected, atol=1e-5)
        assert row["label"] == loaded.card.labels[int(np.argmax(shown))]
        assert float(row["probability"]) == max(shown)
        assert (row["width"], row["height"], row["model"], row["engine"]) == ("24", "24", COLOUR, loaded.engine.name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.csv.job.json", "photos"]


def test_parquet_holds_the_same_as_csv_with_types(loaded: LoadedModel, tmp_path: Path):
    photos = faulty_pictures(good_pictures(tmp_path / "photos", 9))
    scored(loaded, photos, tmp_path / "out.csv")
    scored(loaded, photos, tmp_path / "out.parquet", part_rows=5)
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    as_text = [{name: "" if value is None else str(value) for name, value in row.items()} for row in table]
    assert [row["path"] for row in table] == [row["path"] for row in rows(tmp_path / "out.csv")]
    assert as_text[3]["error"] == ""
    assert {type(row["probability"]) for row in table} == {float, type(None)}
    assert {type(row["width"]) for row in table if row["error"] is None} == {int}


def test_shards_make_the_rows_of_one_machine(loaded: LoadedModel, tmp_path: Path):
    photos = good_pictures(tmp_path / "photos", 11)
    scored(loaded, photos, tmp_path / "whole.csv")
    for number in (1, 2):
        scored(loaded, photos, tmp_path / f"{number}.csv", Shard(number, 2))
    parts = rows(tmp_path / "1.csv") + rows(tmp_path / "2.csv")
    assert sorted(parts, key=lambda row: row["path"]) == rows(tmp_path / "whole.csv")


def test_a_table_that_is_whole_is_left_as_it_is(loaded: LoadedModel, tmp_path: Path):
    photos, out = good_pictures(tmp_path / "photos", 3), tmp_path / "out.csv"
    scored(loaded, photos, out)
    before = out.stat()
    assert scored(loaded, photos, out) == Finished(rows=3, failed=0, new=0)
    assert out.stat() == before
    with pytest.raises(UnusableOutput, match="belongs to another job: shard was '1/1' and is '1/2'"):
        scored(loaded, photos, out, Shard(1, 2))
    remove(out)
    assert scored(loaded, photos, out, Shard(1, 2)) == Finished(rows=2, failed=0, new=2)
    assert not (tmp_path / "out.csv.parts").exists()


def test_a_file_of_somebody_elses_is_never_overwritten(loaded: LoadedModel, tmp_path: Path):
    photos, out = good_pictures(tmp_path / "photos", 3), tmp_path / "out.csv"
    out.write_text("precious")
    with pytest.raises(UnusableOutput, match="is not of a job"):
        scored(loaded, photos, out)
    with pytest.raises(UnusableOutput, match="is not of a job"):
        remove(out)
    assert out.read_text() == "precious"


def test_a_folder_without_images_is_told(loaded: LoadedModel, tmp_path: Path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(UnusableInput, match="has no images"):
        scored(loaded, tmp_path / "photos", tmp_path / "out.csv")


def test_three_kills_lose_no_row_and_repeat_none(loaded: LoadedModel, tiny_models_root: Path, tmp_path: Path):
    photos, out = good_pictures(tmp_path / "photos", 1_200), tmp_path / "out.csv"
    command = [sys.executable, "-c", CHILD, str(tiny_models_root), str(photos), str(out)]
    for parts in (1, 4, 8):
        process = subprocess.Popen(command, cwd=ROOT)
        until = time.monotonic() + 60
        while process.poll() is None and len(list(tmp_path.glob("out.csv.parts/*-*.csv"))) < parts:
            assert time.monotonic() < until
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not out.exists()
    finished = scored(loaded, photos, out, part_rows=32)
    assert (finished.rows, finished.failed) == (1_200, 0)
    assert 0 < finished.new <= 1_200 - 8 * 32
    scored(loaded, photos, tmp_path / "undisturbed.csv")
    assert out.read_bytes() == (tmp_path / "undisturbed.csv").read_bytes()


def test_a_changed_input_is_noticed_on_the_way(loaded: LoadedModel, tiny_models_root: Path, tmp_path: Path):
    photos, out = good_pictures(tmp_path / "photos", 100), tmp_path / "out.csv"
    process = subprocess.Popen([sys.executable, "-c", CHILD, str(tiny_models_root), str(photos), str(out)], cwd=ROOT)
    while process.poll() is None and not list(tmp_path.glob("out.csv.parts/*-*.csv")):
        time.sleep(0.001)
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(UnusableOutput, match="another process writes this table now"):
        scored(loaded, photos, out, part_rows=32)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (photos / "a" / "0000.jpg").unlink()
    with pytest.raises(UnusableOutput, match="the input has changed since this job began"):
        scored(loaded, photos, out, part_rows=32)


def test_the_command(tiny_models_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    photos, out = faulty_pictures(good_pictures(tmp_path / "photos", 5)), tmp_path / "out.csv"
    options = ["--model", f"{COLOUR}@1", "--out", str(out), "--models", str(tiny_models_root), "--processes", "1"]
    assert main(["score", str(photos), *options]) == 0
    assert capsys.readouterr().out == f"{out}: 8 images, 3 with an error; 8 of them now\n"
    assert main(["score", str(photos), *options]) == 0
    assert "all of them before" in capsys.readouterr().out
    assert main(["score", str(photos), *options, "--shard", "2/2", "--restart"]) == 0
    assert capsys.readouterr().out == f"{out}: 4 images, 1 with an error; 4 of them now\n"
    about = json.loads((tmp_path / "out.csv.job.json").read_text())
    assert (about["model"], about["version"], about["shard"], about["rows"]) == (COLOUR, 1, "2/2", 4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--shard", "3/2"], "expected I/N"),
        (["--out", "out.xlsx"], "expected a table called .csv or .parquet"),
    ],
)
def test_wrong_options_are_told_before_anything_is_loaded(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["score", str(tmp_path), "--model", COLOUR, "--out", "out.csv", *options]) != 0
    assert said in capsys.readouterr().err
