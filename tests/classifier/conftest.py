"""What the tests of the classifier share: the tiny models, to look at and to spoil."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from classifier.store import ModelStore
from tests.classifier.engines.straying import Strays, install


@pytest.fixture(scope="session")
def models(tiny_models_root: Path) -> ModelStore:
    """The tiny models, for reading."""
    return ModelStore(tiny_models_root)


@pytest.fixture
def own_models(tiny_models_root: Path, tmp_path: Path) -> ModelStore:
    """A copy of the tiny models that a test may change."""
    shutil.copytree(tiny_models_root, tmp_path / "models")
    return ModelStore(tmp_path / "models")


@pytest.fixture
def strays(monkeypatch: pytest.MonkeyPatch) -> Strays:
    return install(monkeypatch)
