"""Promises of `classifier.exporting`: other formats, the same answers."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

from classifier import exporting, store
from classifier.errors import BrokenModel, EngineUnavailable, UnknownModel
from classifier.exporting import BadExport, OutputExists, export
from tests.classifier.engines.test_keras_archive import first_layer, rewritten
from tests.tiny_models import COLOUR, GREY, save_tiny_model


@pytest.fixture
def tf() -> Any:
    """TensorFlow, imported when the first test asks and not when tests are collected."""
    return pytest.importorskip("tensorflow")


@pytest.mark.slow
@pytest.mark.parametrize("name", [COLOUR, GREY])
def test_a_savedmodel_takes_pixels_and_gives_probabilities(models, tmp_path, tf, name):
    out = export(models, name, None, "savedmodel", tmp_path / "out")
    serving = tf.saved_model.load(str(out)).signatures["serving_default"]
    ((pixels, spec),) = serving.structured_input_signature[1].items()
    assert (pixels, spec.dtype, spec.shape[0]) == ("pixels", tf.uint8, None)
    (probabilities,) = serving(pixels=np.zeros((2, *models.card(name).input.shape), np.uint8)).values()
    assert (probabilities.dtype, probabilities.shape) == (tf.float32, (2, len(models.card(name).labels)))


@pytest.mark.slow
@pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter is deprecated:UserWarning")
def test_a_tflite_file_takes_pixels_and_gives_probabilities(models, tmp_path, tf):
    out = export(models, COLOUR, 1, "tflite", tmp_path / "sub" / "out.tflite")
    run = tf.lite.Interpreter(str(out)).get_signature_runner()
    assert run.get_input_details()["pixels"]["dtype"] == np.uint8
    (probabilities,) = run(pixels=np.zeros((2, 8, 8, 3), np.uint8)).values()
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (2, 3))


@pytest.mark.slow
@pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter is deprecated:UserWarning")
@pytest.mark.parametrize("kind", ["savedmodel", "tflite"])
def test_a_version_that_says_what_is_familiar_is_exported_with_that_beside_the_probabilities(tmp_path, tf, kind):
    models = store.ModelStore(tmp_path / "models")
    save_tiny_model(models, "scored", with_familiarity=True)
    out = export(models, "scored", None, kind, tmp_path / "out")
    pixels = np.zeros((2, 8, 8, 3), np.uint8)
    if kind == "savedmodel":
        answers = tf.saved_model.load(str(out)).signatures["serving_default"](pixels=pixels)
    else:
        answers = tf.lite.Interpreter(str(out)).get_signature_runner()(pixels=pixels)
    assert sorted(tuple(answer.shape) for answer in answers.values()) == [(2, 1), (2, 3)]


@pytest.mark.slow
def test_an_export_with_another_answer_is_not_written(models, tmp_path, monkeypatch):
    monkeypatch.setitem(
        exporting.FORMATS,
        "savedmodel",
        (lambda network, card, out: out.mkdir(), lambda path, pixels: np.asarray([[1, 0, 0]], np.float32)),
    )
    with pytest.raises(BadExport, match="off by"):
        export(models, COLOUR, None, "savedmodel", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_exports_go_to_the_current_folder_by_name_and_version(models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind, name in (("savedmodel", "tiny-colour-1-savedmodel"), ("tflite", "tiny-colour-2.tflite")):
        (tmp_path / name).touch()
        with pytest.raises(OutputExists, match=f"{name} exists"):
            export(models, COLOUR, 1 if kind == "savedmodel" else None, kind)


def test_what_is_there_is_never_overwritten(models, tmp_path):
    (tmp_path / "mine").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputExists, match="choose another place with --out"):
        export(models, COLOUR, None, "tflite", tmp_path / "mine")
    assert (tmp_path / "mine").read_text(encoding="utf-8") == "mine"


def test_without_tensorflow_the_error_says_what_to_install(models, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EngineUnavailable, match=r"install sightline\[train\]"):
        export(models, COLOUR, None, "tflite", tmp_path / "out")


def test_a_network_with_code_inside_is_not_exported(own_models, tmp_path):
    path, card = own_models.folder(COLOUR) / store.KERAS, own_models.card(COLOUR)
    rewritten(path, tmp_path / "evil.keras", first_layer(class_name="TFSMLayer")).rename(path)
    vouched = card.model_copy(update={"files": card.files | {store.KERAS: store.file_record(path)}})
    store.write_card(vouched, path.parent / store.CARD)
    with pytest.raises(BrokenModel, match="holds TFSMLayer"):
        export(own_models, COLOUR, None, "savedmodel", tmp_path / "out")


def test_unknown_and_broken_models_are_not_exported(own_models, tmp_path):
    with pytest.raises(UnknownModel):
        export(own_models, "nobody", None, "tflite", tmp_path / "out")
    (own_models.folder(COLOUR) / store.KERAS).unlink()
    with pytest.raises(BrokenModel):
        export(own_models, COLOUR, None, "tflite", tmp_path / "out")
