"""A folder of versions that tests may change, and a server's catalog that follows it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from classifier.engines.throughput import Throughput
from classifier.store import ModelStore
from service.inference.catalog import Catalog
from service.inference.proof import Proof
from service.inference.rollout.reloading import Reloader
from service.settings import Settings
from tests.tiny_models import COLOUR


@pytest.fixture(autouse=True)
def not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """How fast a version is matters to none of these tests, and each process that tries one takes a second."""
    monkeypatch.setattr("classifier.engines.throughput.measure", lambda *_: Throughput(4, 1_000.0))

    async def tried(*_: object) -> Proof:
        return Proof("float32", 4, 1_000.0, one_stream=False)

    monkeypatch.setattr("service.inference.proof.tried", tried)


@pytest.fixture
def models(tiny_models_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_models_root, tmp_path / "models"))


@pytest.fixture
async def running(models: Path) -> AsyncIterator[Catalog]:
    """Loaded; it follows nothing by itself."""
    catalog = Catalog(Settings(models=models, engine="openvino", precision="float32"))
    await catalog.load()
    yield catalog
    await catalog.close()


@pytest.fixture
async def reloader(running: Catalog) -> AsyncIterator[Reloader]:
    """Looks when it is asked to."""
    reloader = Reloader(running)
    await reloader.start("admin")
    yield reloader
    await reloader.close()


async def until(is_so: Callable[[], object]) -> None:
    """Raises TimeoutError where it does not come true."""
    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0.01)


def say(models: Path, text: str) -> None:
    """Write the roll-out file about the colour model."""
    (models / "rollout.toml").write_text(f"[{COLOUR}]\n{text}\n", encoding="utf-8")


def add_version(models: Path, of: str = COLOUR) -> Path:
    """Copy the newest version as the next one, as complete as that."""
    store = ModelStore(models)
    card = store.card(of)

    def fill(draft: Path):  # type: ignore[no-untyped-def]
        for file in card.files:
            shutil.copy(store.folder(of) / file, draft / file)
        return card

    added = store.save(of, fill)
    return models / of / str(added.version)
