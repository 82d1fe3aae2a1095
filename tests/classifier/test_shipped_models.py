"""Every version in `models/` is what its card says, in every engine. Nothing runs while the folder is empty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from classifier.engines import EngineOptions, open_engine
from classifier.loaded_model import LoadedModel
from classifier.store import ModelStore
from tests.classifier.engines import ENGINES, KERAS_ENGINE

SHIPPED = ModelStore(Path(__file__).resolve().parents[2] / "models")
VERSIONS = [(name, version) for name, versions in SHIPPED.versions().items() for version in versions]

every_version = pytest.mark.parametrize(("name", "version"), VERSIONS, ids=str)


@every_version
def test_files_and_card_agree(name, version):
    assert SHIPPED.verify(name, version).version == version


@pytest.mark.slow
@every_version
def test_engines_give_the_same_float32_answers(name, version):
    card = SHIPPED.card(name, version)
    noise = np.random.default_rng(0).integers(0, 256, (4, *card.input.shape), np.uint8)
    answers, scores = [], []
    for engine_name in ENGINES:
        loaded = LoadedModel.open(SHIPPED, name, version, EngineOptions(engine=engine_name, precision="float32"))
        pixels = np.concatenate([loaded.decode(loaded.sample)[None], noise])
        found = loaded.engine.answer(pixels)
        answers.append(found.probabilities)
        scores.append(found.familiarity)
        loaded.close()
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-4)
    np.testing.assert_allclose(answers[0][0], card.sample.probabilities, atol=1e-4)
    if card.familiarity is None:
        assert scores == [None, None]
    else:
        np.testing.assert_allclose(scores[0], scores[1], atol=1e-3)
        assert scores[0][0] == pytest.approx(card.sample.familiarity, abs=1e-3)


@every_version
@pytest.mark.parametrize("engine_name", ["openvino", pytest.param(KERAS_ENGINE, marks=pytest.mark.slow)])
def test_the_precision_chosen_automatically_keeps_the_samples_label(name, version, engine_name):
    card = SHIPPED.card(name, version)
    engine = open_engine(card, SHIPPED.folder(name, version), EngineOptions(engine=engine_name))
    loaded = LoadedModel(card, engine, (SHIPPED.folder(name, version) / card.sample.file).read_bytes())
    (best,) = loaded.predict(loaded.sample, top_k=1)
    loaded.close()
    assert best.label == card.sample.label
