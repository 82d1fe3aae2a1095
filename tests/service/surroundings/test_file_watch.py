from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.surroundings.file_watch import watch

pytestmark = pytest.mark.anyio

EVERY_S = 0.01


@asynccontextmanager
async def watching(*paths: Path) -> AsyncIterator[Callable[[], int]]:
    """Gives how often a change was noticed."""
    changes: list[None] = []
    task = asyncio.create_task(watch(paths, lambda: changes.append(None), EVERY_S))
    await asyncio.sleep(5 * EVERY_S)
    yield lambda: len(changes)
    task.cancel()


async def noticed(changes: Callable[[], int], count: int) -> None:
    async with asyncio.timeout(10):
        while changes() < count:  # noqa: ASYNC110 (files have no events)
            await asyncio.sleep(EVERY_S)


async def test_a_file_that_is_written_anew_is_noticed_once(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("a")
    async with watching(file) as changes:
        assert changes() == 0
        file.write_text("ab")
        await noticed(changes, 1)
        await asyncio.sleep(5 * EVERY_S)
        assert changes() == 1


async def test_a_file_that_takes_anothers_place_is_noticed(tmp_path: Path) -> None:
    file, other = tmp_path / "keys", tmp_path / "other"
    file.write_text("a")
    async with watching(file) as changes:
        other.write_text("b")
        other.replace(file)
        await noticed(changes, 1)


async def test_a_folder_that_kubernetes_links_anew_is_noticed(tmp_path: Path) -> None:
    for name, text in (("..1", "a"), ("..2", "b")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "keys").write_text(text)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "keys").symlink_to("..data/keys")
    async with watching(tmp_path / "keys") as changes:
        (tmp_path / "..new").symlink_to("..2")
        (tmp_path / "..new").rename(tmp_path / "..data")
        await noticed(changes, 1)


async def test_files_that_go_and_come_are_noticed(tmp_path: Path) -> None:
    here, not_yet = tmp_path / "here", tmp_path / "not-yet"
    here.write_text("a")
    async with watching(here, not_yet) as changes:
        not_yet.write_text("b")
        await noticed(changes, 1)
        here.unlink()
        await noticed(changes, 2)
