"""Which models, versions and pictures are measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from classifier.store import ModelStore
from load_tests.workload import IMAGES, VERSIONS, drawn, measured_store
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    models = ModelStore(tmp_path_factory.mktemp("workload") / "models")
    for _ in range(2):
        save_tiny_model(models, "asl", shape=(28, 28, 1), contrast="stretch")
    save_tiny_model(models, "tiny", shape=(8, 8, 3))
    return models


def test_every_model_has_a_version_and_the_pictures_that_documents_speak_of() -> None:
    assert IMAGES == {"cats-vs-dogs": ((200, 200), (500, 374)), "cifar-10": ((32, 32),), "asl": ((28, 28),)}
    assert VERSIONS.keys() == IMAGES.keys()


def test_a_store_is_made_of_just_the_versions_that_are_measured(store: ModelStore, tmp_path: Path) -> None:
    made = ModelStore(measured_store(store.root, tmp_path / "models"))
    assert made.versions() == {"asl": (1,)}
    assert made.card("asl") == store.card("asl", 1)


def test_pictures_have_the_size_and_the_colours_of_their_model(store: ModelStore, tmp_path: Path) -> None:
    (pictures,) = drawn(store.root, "asl", tmp_path)
    assert (pictures.model, pictures.size, len({picture.body for picture in pictures.sample})) == ("asl", "28x28", 40)
