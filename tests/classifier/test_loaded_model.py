"""Promises of `classifier.loaded_model`: what is handed out has proved itself on its sample."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier import store
from classifier.card import AgreementCheck, Card, Sample
from classifier.engines import EngineOptions, openvino
from classifier.errors import BrokenModel, ImageTooLarge, NotAnImage, UnknownModel, WrongAnswer
from classifier.images import from_array
from classifier.loaded_model import LoadedModel
from classifier.store import ModelStore
from tests import pictures
from tests.tiny_models import COLOUR, GREY, passed_check

FLOAT32 = EngineOptions(engine="openvino", precision="float32")


@pytest.fixture(scope="module")
def loaded(models: ModelStore):
    loaded = LoadedModel.open(models, COLOUR, options=FLOAT32)
    yield loaded
    loaded.close()


def change_card(models: ModelStore, change: Callable[[Card], Card]) -> None:
    """Rewrite a card with its hashes still right."""
    path = models.folder(COLOUR) / store.CARD
    path.write_text(change(models.card(COLOUR)).model_dump_json(), encoding="utf-8")


@pytest.mark.parametrize("engine", ["openvino", "tensorflow"])
@pytest.mark.parametrize("name", [COLOUR, GREY])
def test_a_version_answers_for_its_sample_as_the_card_says(models, engine, name):
    loaded = LoadedModel.open(models, name, options=EngineOptions(engine=engine))
    probabilities = loaded.classify([loaded.sample])
    loaded.close()
    np.testing.assert_allclose(probabilities, [loaded.card.sample.probabilities], atol=1e-4)


def test_the_newest_version_is_opened_unless_another_is_named(models):
    for version, expected in ((None, 2), (1, 1)):
        loaded = LoadedModel.open(models, COLOUR, version, FLOAT32)
        loaded.close()
        assert loaded.card.version == expected


def test_predictions_are_labels_most_probable_first(loaded):
    predictions = loaded.predict(pictures.jpeg())
    assert {label for label, _ in predictions} == {"red", "green", "blue"}
    assert [p for _, p in predictions] == sorted((p for _, p in predictions), reverse=True)
    assert sum(p for _, p in predictions) == pytest.approx(1, abs=1e-5)
    assert loaded.predict(pictures.jpeg(), top_k=1) == predictions[:1]


def test_several_images_are_classified_as_each_alone(loaded):
    bodies = [pictures.png(pictures.noise(seed=seed)) for seed in range(5)]
    together = loaded.classify(bodies)
    np.testing.assert_allclose(together, [loaded.classify([body])[0] for body in bodies], atol=1e-6)


def test_pixels_are_decoded_as_the_card_says(models):
    loaded = LoadedModel.open(models, GREY, options=FLOAT32)
    loaded.close()
    pixels = pictures.noise(30, 40)
    np.testing.assert_array_equal(loaded.decode(pictures.png(pixels)), from_array(pixels, loaded.card.input))
    assert loaded.card.input.contrast == "stretch"


def test_bad_images_are_the_errors_of_decoding(loaded):
    with pytest.raises(NotAnImage):
        loaded.predict(b"text")
    with pytest.raises(ImageTooLarge):
        loaded.decode(pictures.png(), max_pixels=10)


def test_an_unknown_model_is_an_error(models):
    with pytest.raises(UnknownModel):
        LoadedModel.open(models, "../x")


def flip_the_last_bit(path: Path) -> None:
    body = path.read_bytes()
    path.write_bytes(body[:-1] + bytes([body[-1] ^ 1]))


def test_a_tampered_file_is_noticed_before_it_is_loaded(own_models, monkeypatch):
    flip_the_last_bit(own_models.folder(COLOUR) / store.ONNX)
    monkeypatch.setattr(openvino, "OpenVinoEngine", None)  # must not be reached
    with pytest.raises(BrokenModel, match=r"model\.onnx: its SHA-256"):
        LoadedModel.open(own_models, COLOUR, options=FLOAT32)


@pytest.mark.parametrize(
    ("file", "engine"), [(store.ONNX, "openvino"), (store.KERAS, "tensorflow"), (store.SAMPLE, "openvino")]
)
def test_a_file_that_changes_between_check_and_load_is_noticed(own_models, monkeypatch, file, engine):
    def verify_and_lose_the_race(*where: Any, **options: Any) -> Card:
        card = ModelStore.verify(own_models, *where, **options)
        flip_the_last_bit(own_models.folder(COLOUR) / file)
        return card

    monkeypatch.setattr(own_models, "verify", verify_and_lose_the_race)
    with pytest.raises(BrokenModel, match=rf"{COLOUR}/2/{file}: its SHA-256"):
        LoadedModel.open(own_models, COLOUR, options=EngineOptions(engine=engine, precision="float32"))


@pytest.mark.parametrize(("engine", "others"), [("openvino", store.KERAS), ("tensorflow", store.ONNX)])
def test_a_version_may_lack_the_network_of_other_engines(own_models, engine, others):
    (own_models.folder(COLOUR) / others).unlink()
    LoadedModel.open(own_models, COLOUR, options=EngineOptions(engine=engine, precision="float32")).close()


@pytest.mark.parametrize(("engine", "own"), [("openvino", store.ONNX), ("tensorflow", store.KERAS)])
def test_a_version_that_lacks_its_engines_network_is_broken(own_models, engine, own):
    (own_models.folder(COLOUR) / own).unlink()
    with pytest.raises(BrokenModel, match=own):
        LoadedModel.open(own_models, COLOUR, options=EngineOptions(engine=engine, precision="float32"))


@pytest.mark.parametrize("engine", ["openvino", "tensorflow"])
def test_what_is_loaded_is_what_was_hashed(own_models, monkeypatch, engine):
    def read_and_lose_the_race(card: Card, file: str) -> bytes:
        body = ModelStore.read(own_models, card, file)
        (own_models.folder(COLOUR) / file).write_bytes(b"another network")
        return body

    monkeypatch.setattr(own_models, "read", read_and_lose_the_race)
    loaded = LoadedModel.open(own_models, COLOUR, options=EngineOptions(engine=engine, precision="float32"))
    loaded.check_sample_answer(loaded.classify([loaded.sample])[0])
    loaded.close()


@pytest.fixture
def closed_engines(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    closed, close = [], openvino.OpenVinoEngine.close
    monkeypatch.setattr(openvino.OpenVinoEngine, "close", lambda engine: closed.append(engine) or close(engine))
    return closed


def test_another_answer_than_the_cards_is_broken_and_gives_the_memory_back(own_models, closed_engines):
    def another(card: Card) -> Card:
        sample = Sample(label="blue", probabilities=(0.0, 0.0, 1.0))
        return card.model_copy(update={"sample": sample})

    change_card(own_models, another)
    with pytest.raises(BrokenModel, match=r"sample\.png is off by 0\.\d+ with openvino in float32"):
        LoadedModel.open(own_models, COLOUR, options=FLOAT32)
    assert len(closed_engines) == 1


def test_a_sample_that_does_not_decode_is_the_models_fault(own_models, closed_engines):
    sample = own_models.folder(COLOUR) / store.SAMPLE
    sample.write_bytes(b"no picture")
    record = store.file_record(sample)
    change_card(own_models, lambda card: card.model_copy(update={"files": card.files | {store.SAMPLE: record}}))
    with pytest.raises(BrokenModel, match=r"sample\.png: expected a JPEG"):
        LoadedModel.open(own_models, COLOUR, options=FLOAT32)
    assert len(closed_engines) == 1


def test_answers_that_are_not_numbers_are_broken(loaded):
    with pytest.raises(BrokenModel, match="off by nan"):
        loaded.check_sample_answer(np.full(3, np.nan, np.float32))


def bfloat16_check(off_by: float | None) -> AgreementCheck:
    return passed_check("openvino", "bfloat16").model_copy(update={"sample_difference": off_by})


@pytest.mark.parametrize("recorded", [None, 0.03], ids=["an older card", "a card of another processor"])
def test_a_sample_that_strays_in_a_precision_nobody_asked_for_is_answered_in_float32(
    own_models, strays, recorded, caplog
):
    change_card(own_models, lambda card: card.model_copy(update={"checks": (bfloat16_check(recorded),)}))
    strays.alone_by = 0.08
    loaded = LoadedModel.open(own_models, COLOUR)
    loaded.close()
    assert (loaded.engine.precision, strays.opened) == ("float32", ["bfloat16", "float32"])
    assert "off by 0.0800 with openvino in bfloat16, and may be by 0.05; it runs in float32 instead" in caplog.text


def test_a_card_that_knows_how_far_its_sample_strays_is_not_even_tried(own_models, strays):
    change_card(own_models, lambda card: card.model_copy(update={"checks": (bfloat16_check(0.08),)}))
    strays.alone_by = 0.08
    LoadedModel.open(own_models, COLOUR).close()
    assert strays.opened == ["float32"]


def test_a_precision_that_was_asked_for_is_not_changed_in_silence(own_models, strays):
    strays.alone_by = 0.08
    with pytest.raises(WrongAnswer, match=r"off by 0\.0800 with openvino in bfloat16"):
        LoadedModel.open(own_models, COLOUR, options=EngineOptions("openvino", "bfloat16"))
    assert strays.opened == ["bfloat16"]


def test_bfloat16_that_agrees_is_used(own_models, strays):
    change_card(own_models, lambda card: card.model_copy(update={"checks": (bfloat16_check(0.03),)}))
    strays.alone_by = 0.03
    loaded = LoadedModel.open(own_models, COLOUR)
    loaded.close()
    assert loaded.engine.precision == "bfloat16"
