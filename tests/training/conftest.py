"""Small synthetic copies of the three data sets, in their real layouts, and the real ones where there are any."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import archives
from training.recipes.recipe import Recipe

SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"  # beside the project


@pytest.fixture(scope="session")
def data_for(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Recipe], Path]:
    """Where a recipe finds data of its own layout."""
    root = tmp_path_factory.mktemp("data")
    made = {
        "cats-vs-dogs": archives.cats_vs_dogs_zip(root / "cats-vs-dogs.zip", per_class=32),
        "cifar-10": archives.cifar10_zip(root / "cifar-10.zip", train_per_class=60),  # a tenth is enough for validation
        "sign-mnist": archives.sign_mnist_zip(root / "sign-mnist.zip"),
    }
    return lambda recipe: made[recipe.reader.name]


@pytest.fixture
def shared_data() -> Path:
    """The folder of the real archives; a test that asks for it is skipped where there is none."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the real archives in {SHARED_DATA}")
    return SHARED_DATA
