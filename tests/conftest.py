"""Fixtures for the tests of every room."""

from __future__ import annotations

from pathlib import Path

import pytest

from classifier.store import ModelStore
from tests.tiny_models import save_tiny_models


@pytest.fixture(scope="session")
def tiny_models_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `models` folder with `tiny-colour` versions 1 and 2 and `tiny-grey` version 1; read it, do not change it."""
    root = tmp_path_factory.mktemp("tiny") / "models"
    save_tiny_models(ModelStore(root))
    return root
