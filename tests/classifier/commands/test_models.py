"""Promises of the commands that use models: answers on stdout, troubles on stderr, and telling exit codes."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from classifier import store
from classifier.__main__ import main
from classifier.commands.image_files import arriving
from classifier.commands.parameters import folder_to_save_in, models_folder
from classifier.scoring import progress
from classifier.store import ModelStore
from tests import pictures
from tests.tiny_models import COLOUR, GREY, save_tiny_model


class Run(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(tiny_models_root: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run one command on the tiny models, or on those of `--models`."""

    def run(*words: object, models: Path = tiny_models_root) -> Run:
        code = main([*map(str, words), "--models", str(models)])
        return Run(code, *capsys.readouterr())

    return run


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "photo.bin"  # formats are known by bytes, not by names
    path.write_bytes(pictures.jpeg())
    return path


# list


def test_list_shows_every_version(run):
    code, out, err = run("list")
    assert (code, err) == (0, "")
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["MODEL", "VERSION"],
        [COLOUR, "1"],
        [COLOUR, "2"],
        [GREY, "1"],
    ]
    assert "8x8 RGB" in out
    assert "28x28 grey" in out
    assert "50.0% test" in out
    assert "red, green, blue" in out


def test_list_speaks_json(run):
    listed = json.loads(run("list", "--json").out)
    assert [(model["model"], model["version"]) for model in listed] == [(COLOUR, 1), (COLOUR, 2), (GREY, 1)]
    assert listed[0]["labels"] == ["red", "green", "blue"]
    assert listed[0]["metrics"]["test"]["accuracy"] == 0.5


def test_list_of_an_empty_store_says_where_it_looked(run, tmp_path):
    assert run("list", models=tmp_path) == (0, "", f"no models yet in {tmp_path}\n")
    assert run("list", "--json", models=tmp_path).out == "[]\n"


def test_list_shows_the_others_when_a_card_is_broken(run, own_models):
    (own_models.folder(COLOUR, 1) / store.CARD).write_text("{}", encoding="utf-8")
    code, out, err = run("list", models=own_models.root)
    assert code == 1
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [[COLOUR, "2"], [GREY, "1"]]
    assert err.startswith("error: ")
    assert "tiny-colour/1/card.json" in err


@pytest.mark.parametrize("words", [["list"], ["--help"], ["predict", "--help"]], ids=" ".join)
def test_looking_around_is_quick(words, tiny_models_root):
    script = f"""
import sys
from classifier.__main__ import main
code = main({words!r} + (["--models", {str(tiny_models_root)!r}] if {words == ["list"]} else []))
for library in ("tensorflow", "keras", "openvino", "PIL"):
    assert library not in sys.modules, library
sys.exit(code)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


# verify


def test_verify_prints_a_line_per_version(run):
    code, out, err = run("verify")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "ok      tiny-colour@1  openvino, tensorflow",
        "ok      tiny-colour@2  openvino, tensorflow",
        "ok      tiny-grey@1  openvino, tensorflow",
    ]


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ([COLOUR], [f"{COLOUR}@1", f"{COLOUR}@2"]),
        ([f"{COLOUR}@1"], [f"{COLOUR}@1"]),
        ([GREY, f"{COLOUR}@2"], [f"{GREY}@1", f"{COLOUR}@2"]),
    ],
)
def test_verify_looks_at_what_is_named(run, named, expected):
    assert [line.split()[1] for line in run("verify", *named).out.splitlines()] == expected


def test_verify_says_what_is_broken_and_goes_on(run, own_models):
    (own_models.folder(COLOUR, 1) / store.ONNX).unlink()
    code, out, err = run("verify", models=own_models.root)
    broken, *others = out.splitlines()
    assert (code, err) == (1, "")
    assert broken.startswith("BROKEN  tiny-colour@1  ")
    assert "model.onnx: the card names this file, but it is not there" in broken
    assert [line[:6].strip() for line in others] == ["ok", "ok"]


def test_verify_speaks_json(run, own_models):
    (own_models.folder(COLOUR, 1) / store.ONNX).unlink()
    code, out, _ = run("verify", COLOUR, "--json", models=own_models.root)
    broken, fine = json.loads(out)
    assert code == 1
    assert (broken["model"], broken["version"], broken["ok"], broken["engines"]) == (COLOUR, 1, False, [])
    assert "model.onnx" in broken["error"]
    assert fine == {
        "model": COLOUR,
        "version": 2,
        "ok": True,
        "engines": ["openvino", "tensorflow"],
        "error": None,
    }


def test_verify_without_tensorflow_and_jax_says_what_it_skips(run, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("tensorflow", "jax") else name)
    code, out, err = run("verify", GREY)
    assert (code, out) == (0, "ok      tiny-grey@1  openvino\n")
    assert err == "TensorFlow and JAX are not installed: model.keras is compared by its hash only\n"


def test_verifying_nothing_is_no_success(run, tmp_path):
    assert run("verify", models=tmp_path) == (1, "", f"error: no models yet in {tmp_path}\n")


# predict


def test_predict_prints_a_table_per_image(run, picture):
    code, out, err = run("predict", COLOUR, picture, picture)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[:4] == lines[4:]
    assert lines[0] == str(picture)
    assert {line.split()[0] for line in lines[1:4]} == {"red", "green", "blue"}
    percentages = [float(line.split()[1].rstrip("%")) for line in lines[1:4]]
    assert percentages == sorted(percentages, reverse=True)
    assert sum(percentages) == pytest.approx(100, abs=0.2)


def test_predict_speaks_the_json_of_the_http_api(run, picture):
    code, out, _ = run("predict", f"{COLOUR}@1", picture, "--json", "--top-k", 2)
    (answer,) = json.loads(out)
    assert code == 0
    assert list(answer) == ["image", "model", "version", "predictions"]
    assert (answer["image"], answer["model"], answer["version"]) == (str(picture), COLOUR, 1)
    assert [list(prediction) for prediction in answer["predictions"]] == [["label", "probability"]] * 2


def test_predict_says_how_familiar_an_image_looks_where_the_version_knows(run, tmp_path):
    models = ModelStore(tmp_path / "models")
    save_tiny_model(models, "tiny-knowing", ("red", "green", "blue"), (8, 8, 3), seed=1, with_familiarity=True)
    black, white = tmp_path / "black.png", tmp_path / "white.png"
    for path, grey in ((black, 0), (white, 255)):
        Image.new("L", (8, 8), grey).save(path)
    said = run("predict", "tiny-knowing", black, white, models=models.root).out
    assert f"{black}  familiarity 0.00: this looks like nothing the model was trained on\n" in said
    assert f"{white}  familiarity 1.00\n" in said
    answers = json.loads(run("predict", "tiny-knowing", black, white, "--json", models=models.root).out)
    assert [(answer["familiar"], answer["familiarity"]) for answer in answers] == [(False, 0.0), (True, 1.0)]


@pytest.mark.parametrize("engine", ["openvino", "tensorflow"])
def test_predict_runs_on_the_engine_that_is_asked_for(run, picture, engine):
    code, out, _ = run("predict", COLOUR, picture, "--engine", engine, "--precision", "float32", "--json")
    assert code == 0
    assert sum(p["probability"] for p in json.loads(out)[0]["predictions"]) == pytest.approx(1, abs=1e-5)


def test_predict_takes_a_folder_and_writes_a_table(run, tmp_path, monkeypatch):
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / name).write_bytes(pictures.jpeg())
    (tmp_path / "3.png").write_bytes(b"text")
    table = tmp_path / "answers.csv"
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    code, out, err = run("predict", COLOUR, tmp_path, "--out", table)
    assert (code, out) == (1, "")
    assert [line.partition(",")[0] for line in err.splitlines()] == [f"{done} of 3 images" for done in (1, 2, 3)]
    head, *rows = csv.reader(table.read_text(encoding="utf-8").splitlines())
    assert head == ["image", "model", "version", "label", "probability", "familiar", "familiarity", "error"]
    assert [row[0] for row in rows] == [str(tmp_path / name) for name in ("1.jpg", "2.jpg", "3.png")]
    assert [row[-1] for row in rows] == ["", "", "not-an-image"]
    assert 0 < float(rows[0][4]) <= 1


def test_predict_of_a_folder_without_images_and_of_another_table_is_one_line(run, tmp_path):
    assert run("predict", COLOUR, tmp_path).err.startswith(f"error: {tmp_path} has no images")
    assert "expected a file called .csv" in run("predict", COLOUR, tmp_path, "--out", "answers.xlsx").err


def test_predict_goes_on_with_what_comes_until_it_is_stopped(run, tmp_path, monkeypatch):
    (tmp_path / "1.jpg").write_bytes(pictures.jpeg())
    looks = iter([lambda: (tmp_path / "2.jpg").write_bytes(pictures.jpeg()), lambda: None])

    def look(paths: object, sleep: object = None) -> Iterator[Path]:
        def between(_: float) -> None:
            happened = next(looks, None)
            if happened is None:
                raise KeyboardInterrupt
            happened()

        return arriving(paths, between)

    monkeypatch.setattr("classifier.commands.image_files.arriving", look)
    code, out, err = run("predict", COLOUR, tmp_path, "--watch", "--json")
    assert (code, err) == (130, "")
    assert [json.loads(line)["image"] for line in out.splitlines()] == [str(tmp_path / n) for n in ("1.jpg", "2.jpg")]


def test_one_bad_image_does_not_cost_the_others_their_answers(run, picture, tmp_path):
    text, missing = tmp_path / "text.jpg", tmp_path / "missing.jpg"
    text.write_text("no picture", encoding="utf-8")
    code, out, err = run("predict", COLOUR, missing, picture, text, picture)
    assert code == 1
    assert out.count(str(picture)) == 2
    assert [line.split(": ")[:3] for line in err.splitlines()] == [
        ["error", str(missing), "cannot be read (No such file or directory)"],
        ["error", str(text), err.splitlines()[1].split(": ")[2]],
    ]
    assert "expected a JPEG" in err


def test_bad_images_have_their_error_in_the_json(run, picture, tmp_path):
    text = tmp_path / "text.jpg"
    text.write_text("no picture", encoding="utf-8")
    code, out, err = run("predict", COLOUR, text, tmp_path / "missing", picture, "--json")
    bad, missing, good = json.loads(out)
    assert (code, err) == (1, "")
    assert bad["error"]["code"] == "not-an-image"
    assert missing["error"] == {
        "code": "unreadable-file",
        "title": "The file cannot be read",
        "detail": "cannot be read (No such file or directory)",
    }
    assert good["predictions"]


def test_bars_are_for_terminals(run, picture, monkeypatch):
    assert run("predict", COLOUR, picture).out.isascii()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "\u2588" in run("predict", COLOUR, picture).out


def test_file_names_that_are_no_text_can_be_printed(run, tmp_path):
    name = tmp_path / "caf\udce9.jpg"  # Latin-1 bytes, as Python reads them from the command line
    name.write_bytes(pictures.jpeg())
    code, out, _ = run("predict", COLOUR, name)
    assert code == 0
    assert "caf\\udce9.jpg" in out


# explain


def test_explain_draws_the_picture_with_the_evidence_over_it(run, picture, tmp_path):
    out = tmp_path / "new" / "why.png"
    code, said, err = run("explain", COLOUR, picture, "--out", out)
    assert (code, err) == (0, "")
    assert re.fullmatch(rf"(red|green|blue) \d+\.\d%: {re.escape(str(out))}\n", said)
    with Image.open(out) as drawn:
        assert (drawn.format, drawn.mode, drawn.size) == ("PNG", "RGB", (400, 400))


def test_explain_takes_a_label_and_names_those_there_are(run, picture, tmp_path):
    assert run("explain", COLOUR, picture, "--label", "blue", "--out", tmp_path / "why.png").out.startswith("blue ")
    code, _, err = run("explain", COLOUR, picture, "--label", "violet")
    assert (code, err.count("\n")) == (2, 1)
    assert "expected one of red, green, blue, got 'violet'" in err


def test_explain_says_which_file_cannot_be_read(run, tmp_path):
    missing = tmp_path / "missing.jpg"
    assert run("explain", COLOUR, missing) == (1, "", f"error: {missing}: cannot be read (No such file or directory)\n")


# export


def test_export_says_where_it_went_and_never_overwrites(run, tmp_path):
    out = tmp_path / "exported"
    assert run("export", GREY, "--format", "savedmodel", "--out", out)[:2] == (0, f"{out}\n")
    code, _, err = run("export", GREY, "--format", "savedmodel", "--out", out)
    assert (code, err) == (1, f"error: {out} exists; remove it or choose another place with --out\n")


# Troubles


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predict", "nobody", "x.jpg"], "no model 'nobody'; there is: tiny-colour, tiny-grey"),
        (["predict", "../x", "x.jpg"], "no model '../x'"),
        (["predict", f"{COLOUR}@9", "x.jpg"], "no version 9; there is: 1, 2"),
        (["predict", COLOUR, "x.jpg", "--engine", "openvino", "--precision", "float16"], "choose bfloat16 or float32"),
        (["predict", COLOUR, "x.jpg", "--precision", "int8"], "is not int8; `sightline quantize` makes one"),
        (["verify", "nobody"], "no model 'nobody'"),
        (["export", "nobody", "--format", "tflite"], "no model 'nobody'"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) else None,
)
def test_errors_are_one_line_without_a_traceback(run, words, said):
    code, out, err = run(*words)
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["train"],
        ["predict", COLOUR],
        ["predict", "@1", "x.jpg"],
        ["predict", f"{COLOUR}@", "x.jpg"],
        ["predict", f"{COLOUR}@0", "x.jpg"],
        ["predict", f"{COLOUR}@latest", "x.jpg"],
        ["predict", COLOUR, "x.jpg", "--top-k", "0"],
        ["predict", COLOUR, "x.jpg", "--top-k", "-1"],
        ["predict", COLOUR, "x.jpg", "--engine", "onnxruntime"],
        ["export", COLOUR],
        ["export", COLOUR, "--format", "caffe"],
    ],
    ids=" ".join,
)
def test_wrong_usage_has_its_own_exit_code(words, capsys):
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "python -m classifier" in said.err


@pytest.mark.slow
def test_a_reader_who_leaves_early_is_no_trouble(tiny_models_root):
    command = [sys.executable, "-m", "classifier", "list", "--json", "--models", str(tiny_models_root)]
    for unbuffered in ("", "1"):
        environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
            assert run.stdout
            assert run.stderr
            run.stdout.close()
            assert run.stderr.read() == b""


def test_the_models_beside_the_package_are_the_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert models_folder() == Path(__file__).resolve().parents[3] / "models"
    (tmp_path / "models").mkdir()
    assert models_folder() == Path("models")


def test_models_are_looked_for_where_the_server_looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIGHTLINE_MODELS", str(tmp_path / "elsewhere"))
    assert models_folder() == tmp_path / "elsewhere"


def test_new_versions_are_saved_where_they_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGHTLINE_MODELS", raising=False)
    monkeypatch.chdir(tmp_path)
    assert folder_to_save_in() == Path("models")
    folder_to_save_in().mkdir()
    assert models_folder() == folder_to_save_in()
    monkeypatch.setenv("SIGHTLINE_MODELS", str(tmp_path / "elsewhere"))
    assert models_folder() == folder_to_save_in() == tmp_path / "elsewhere"
