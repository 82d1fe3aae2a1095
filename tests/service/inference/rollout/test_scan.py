from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from classifier.store import ModelStore
from service.inference.rollout.scan import fingerprint, same_network, scan
from tests.tiny_models import COLOUR, GREY


@pytest.fixture
def models(tiny_models_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_models_root, tmp_path / "models"))


def test_every_complete_version_is_found(models: Path) -> None:
    found = scan(models)
    assert {name: sorted(versions) for name, versions in found.versions.items()} == {COLOUR: [1, 2], GREY: [1]}
    assert [v.lacks for versions in found.versions.values() for v in versions.values()] == ["", "", ""]
    assert (found.rollout, found.fault) == ({}, "")


def test_what_is_no_version_is_ignored_and_named_for_who_looks(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    for folder in ("lost+found", ".draft-tiny-1", f"{COLOUR}/3", f"{COLOUR}/latest"):
        (models / folder).mkdir()
    caplog.set_level("DEBUG", "service.inference.rollout.scan")
    found = scan(models)
    assert {name: sorted(versions) for name, versions in found.versions.items()} == {COLOUR: [1, 2], GREY: [1]}
    for named in ("lost+found", ".draft-tiny-1", f"{COLOUR}/3", f"{COLOUR}/latest"):
        assert f"{named} is ignored" in caplog.text


@pytest.mark.parametrize("file", ["model.onnx", "sample.png", "model.keras"])
def test_a_version_that_is_half_copied_is_not_complete(models: Path, file: str) -> None:
    path = models / COLOUR / "2" / file
    path.write_bytes(path.read_bytes()[:-10])
    assert file in scan(models).versions[COLOUR][2].lacks


def test_a_card_that_is_half_copied_is_not_complete(models: Path) -> None:
    card = models / COLOUR / "2" / "card.json"
    card.write_bytes(card.read_bytes()[:100])
    assert "not a model card" in scan(models).versions[COLOUR][2].lacks


def test_the_file_that_only_tensorflow_reads_may_be_missing(models: Path) -> None:
    (models / COLOUR / "2" / "model.keras").unlink()
    assert scan(models).versions[COLOUR][2].lacks == ""


def test_a_fingerprint_changes_with_what_is_written_and_with_where_links_lead(models: Path, tmp_path: Path) -> None:
    folder = models / COLOUR / "2"
    before = fingerprint(folder)
    assert fingerprint(folder) == before
    os.utime(folder / "model.onnx", ns=(1, 1))
    touched = fingerprint(folder)
    assert touched != before
    copy = Path(shutil.copytree(folder, tmp_path / "..2026"))
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to(copy / "model.onnx")
    assert fingerprint(folder) != touched


def test_a_wrong_rollout_file_is_a_fault_and_no_rollout(models: Path) -> None:
    (models / "rollout.toml").write_text(f"[{COLOUR}]\nstable = 9\n")
    found = scan(models)
    assert found.rollout is None
    assert "no version 9" in found.fault


def test_a_card_of_which_only_the_words_changed_is_of_the_same_network(models: Path) -> None:
    store = ModelStore(models)
    card = store.card(COLOUR, 2)
    assert same_network(card, card.model_copy(update={"recipe": "another word for it"}))
    assert not same_network(card, store.card(COLOUR, 1))
