"""Promises of `classifier.verification`."""

from __future__ import annotations

import importlib.util

import pytest

from classifier import store, verification
from classifier.engines import openvino
from classifier.verification import installed_engines, verify
from tests.tiny_models import COLOUR, GREY, add_int8


def test_a_sound_version_is_proved_in_every_engine(models):
    verdict = verify(models, GREY, 1, installed_engines())
    assert (verdict.name, verdict.version, verdict.fault) == (GREY, 1, None)
    assert verdict.engines == ("openvino", "tensorflow")


@pytest.mark.parametrize("file", store.HASHED)
def test_a_changed_file_is_the_verdict_and_no_engine_is_started(own_models, file):
    path = own_models.folder(COLOUR) / file
    path.write_bytes(path.read_bytes() + b"\0")
    verdict = verify(own_models, COLOUR, 2, installed_engines())
    assert file in str(verdict.fault)
    assert verdict.engines == ()


def test_an_engine_that_disagrees_is_the_verdict(own_models):
    other = own_models.folder(COLOUR, 1) / store.KERAS
    path = own_models.folder(COLOUR, 2) / store.KERAS
    path.write_bytes(other.read_bytes())
    card = own_models.card(COLOUR)
    card = card.model_copy(update={"files": card.files | {store.KERAS: store.file_record(path)}})
    store.write_card(card, path.with_name(store.CARD))
    verdict = verify(own_models, COLOUR, 2, ("openvino", "tensorflow"))
    assert "off by" in str(verdict.fault)
    assert "tensorflow" in str(verdict.fault)
    assert verdict.engines == ("openvino",)


@pytest.mark.parametrize(("of_version", "sound"), [(2, True), (1, False)])
def test_an_int8_network_is_asked_for_the_samples_answer_too(own_models, monkeypatch, of_version, sound):
    monkeypatch.setattr(openvino, "supports_int8", lambda: True)
    add_int8(own_models, COLOUR, of_version)
    verdict = verify(own_models, COLOUR, 2, ("openvino",))
    assert (verdict.fault is None) is sound
    assert sound or "with openvino in int8" in str(verdict.fault)


def test_a_changed_int8_file_is_the_verdict(own_models):
    add_int8(own_models, COLOUR)
    path = own_models.folder(COLOUR) / store.INT8
    path.write_bytes(path.read_bytes() + b"\0")
    assert store.INT8 in str(verify(own_models, COLOUR, 2, ("openvino",)).fault)


@pytest.mark.parametrize(
    ("installed", "backend", "engines"),
    [
        ((), None, ("openvino",)),
        (("tensorflow",), None, ("openvino", "tensorflow")),
        (("jax",), None, ("openvino", "jax")),
        (("tensorflow", "jax"), None, ("openvino", "tensorflow")),
        (("tensorflow", "jax"), "jax", ("openvino", "jax")),
    ],
)
def test_one_engine_for_keras_is_found_without_importing_it(monkeypatch, installed, backend, engines):
    found = ("openvino", *installed)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in found else None)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    if backend:
        monkeypatch.setenv("KERAS_BACKEND", backend)
    assert verification.installed_engines() == engines
