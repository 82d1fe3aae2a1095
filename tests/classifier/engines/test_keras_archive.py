"""Promises of `classifier.engines.keras_archive`: a `.keras` file is Keras's layers and weights, or not opened."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from classifier import store
from classifier.engines import keras_archive
from classifier.errors import BrokenModel
from tests.tiny_models import COLOUR


def check(path: Path) -> None:
    keras_archive.check(path, path.read_bytes())


def rewritten(source: Path, target: Path, change: Callable[[Any], Any], extra: dict[str, bytes] | None = None) -> Path:
    """A copy of a `.keras` file with another configuration, and more files in it."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            body = old.read(name)
            new.writestr(name, json.dumps(change(json.loads(body))) if name == "config.json" else body)
        for name, body in (extra or {}).items():
            new.writestr(name, body)
    return target


def first_layer(**changes: Any) -> Callable[[Any], Any]:
    def change(config: Any) -> Any:
        config["config"]["layers"][1] |= changes
        return config

    return change


@pytest.fixture
def network(models) -> Path:
    path: Path = models.folder(COLOUR) / store.KERAS
    return path


def test_what_keras_wrote_passes(network):
    check(network)


def test_every_shipped_network_passes():
    shipped = store.ModelStore(Path(__file__).parents[2] / "models")
    for name, versions in shipped.versions().items():
        for version in versions:
            check(shipped.folder(name, version) / store.KERAS)


@pytest.mark.parametrize(
    "changes",
    [
        {"class_name": "Lambda"},
        {"class_name": "TFSMLayer"},
        {"class_name": "system", "module": "os"},
        {"class_name": "Model", "module": "keras_hub.models"},
        {"class_name": "Mine", "registered_name": "mine>Mine"},
        {"config": {"deep": [{"class_name": "__lambda__", "config": {"value": "code"}}]}},
    ],
    ids=["Lambda", "TFSMLayer", "a function of os", "another package", "a registered class", "a lambda deep inside"],
)
def test_what_could_run_code_is_refused_by_its_name(network, tmp_path, changes):
    with pytest.raises(BrokenModel, match="cannot load it safely: it holds"):
        check(rewritten(network, tmp_path / "evil.keras", first_layer(**changes)))


@pytest.mark.parametrize("name", ["../outside", "/etc/cron.d/x", "assets/vocabulary.txt", "config.json/x", "a\\..\\b"])
def test_other_files_in_the_archive_are_refused(network, tmp_path, name):
    with pytest.raises(BrokenModel, match="it holds the files"):
        check(rewritten(network, tmp_path / "evil.keras", lambda config: config, {name: b"x"}))


def test_an_archive_that_unfolds_to_very_much_is_refused(network, tmp_path):
    bomb = tmp_path / "bomb.keras"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", bytes(50_000_000))
    with pytest.raises(BrokenModel, match="unfold to 50,000,002 bytes"):
        check(bomb)


@pytest.mark.parametrize("body", [b"", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"no archive"], ids=repr)
def test_what_is_no_archive_is_broken(tmp_path, body):
    path = tmp_path / "model.keras"
    path.write_bytes(body)
    with pytest.raises(BrokenModel, match=r"no \.keras archive"):
        check(path)


def test_a_configuration_too_deep_to_read_is_broken(tmp_path):
    path = tmp_path / "deep.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "[" * 200_000)
    with pytest.raises(BrokenModel, match=r"no \.keras archive"):
        check(path)


def test_an_archive_started_from_zeros_has_the_same_weights_and_no_random_numbers(network, tmp_path):
    changed = tmp_path / network.name
    changed.write_bytes(keras_archive.started_from_zeros(network.read_bytes()))
    check(changed)
    with zipfile.ZipFile(network) as before, zipfile.ZipFile(changed) as after:
        assert before.namelist() == after.namelist()
        assert before.read("model.weights.h5") == after.read("model.weights.h5")
        assert b"VarianceScaling" in before.read("config.json")
        assert b"VarianceScaling" not in after.read("config.json")
