from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from classifier.card import Card
from classifier.images import Pixels
from service.inference.catalog import Catalog
from service.inference.samples import SampleKeeper
from service.inference.timing import Classified
from service.settings import Settings
from tests.service.pictures import jpeg
from tests.tiny_models import COLOUR, familiarity_of, tiny_card

pytestmark = pytest.mark.anyio

PIXELS: Pixels = np.zeros((8, 8, 3), np.uint8)


class Clock:
    now = 3600.0 * 1000

    def __call__(self) -> float:
        return self.now


def keeper(folder: Path, clock: Clock | None = None, **quotas: float) -> SampleKeeper:
    return SampleKeeper(dataclasses.replace(Settings(), keep_samples=str(folder), **quotas), clock or Clock())


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


async def show(
    kept: SampleKeeper,
    body: bytes | None,
    *row: float,
    card: Card | None = None,
    familiarity: float | None = None,
) -> None:
    answered: asyncio.Future[Classified] = asyncio.get_running_loop().create_future()
    kept.of(card or tiny_card()).follow(body, PIXELS, answered)
    answered.set_result(Classified(np.array(row, np.float32), 0, 0, 0, familiarity))
    await asyncio.sleep(0)
    await kept.written()


async def test_pictures_that_a_model_is_unsure_of_lie_by_label_as_fit_reads_them(tmp_path: Path) -> None:
    kept, body = keeper(tmp_path), jpeg()
    await show(kept, body, 0.2, 0.5, 0.3)
    await show(kept, jpeg(seed=1), 0.9, 0.05, 0.05)
    (only,) = files(tmp_path)
    assert only.parent == tmp_path / "tiny" / "b"
    assert only.suffix == ".jpg"
    assert only.read_bytes() == body


async def test_pictures_that_look_unfamiliar_are_kept_however_sure_the_model_is(tmp_path: Path) -> None:
    kept, knowing = keeper(tmp_path), tiny_card(**familiarity_of())
    await show(kept, jpeg(), 0.99, 0.01, 0.0, card=knowing, familiarity=0.001)
    await show(kept, jpeg(seed=1), 0.99, 0.01, 0.0, card=knowing, familiarity=0.5)
    assert len(files(tmp_path)) == 1


async def test_pixels_without_a_file_are_kept_as_png(tmp_path: Path) -> None:
    await show(keeper(tmp_path), None, 0.4, 0.3, 0.3)
    (only,) = files(tmp_path)
    assert only.suffix == ".png"


async def test_of_an_hour_so_many_are_kept_drawn_from_all(tmp_path: Path) -> None:
    clock = Clock()
    kept = keeper(tmp_path, clock, keep_samples_per_hour=5)
    for seed in range(60):
        await show(kept, jpeg(seed=seed), 0.4, 0.3, 0.3)
    first = files(tmp_path)
    assert len(first) == 5
    assert {path.read_bytes() for path in first} != {jpeg(seed=seed) for seed in range(5)}
    clock.now += 3600
    await show(kept, jpeg(seed=99), 0.4, 0.3, 0.3)
    assert len(files(tmp_path)) == 6


async def test_beyond_the_bytes_no_more_are_kept_also_after_a_new_start(tmp_path: Path) -> None:
    size = len(jpeg())
    for _ in range(2):
        kept = keeper(tmp_path, keep_samples_bytes=int(2.5 * size))
        for seed in range(8):
            await show(kept, jpeg(seed=seed), 0.4, 0.3, 0.3)
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 2.5 * size
    assert files(tmp_path)


async def test_a_label_never_leads_out_of_the_folder(tmp_path: Path) -> None:
    card = tiny_card()
    card = card.model_copy(update={"labels": ("../../a", "b", "c")})
    (inside := tmp_path / "inside").mkdir()
    await show(keeper(inside), jpeg(), 0.5, 0.3, 0.2, card=card)
    assert [path.is_relative_to(inside) for path in files(tmp_path)] == [True]


async def test_an_image_that_got_no_answer_is_not_kept(tmp_path: Path) -> None:
    kept = keeper(tmp_path)
    lost: asyncio.Future[Classified] = asyncio.get_running_loop().create_future()
    kept.of(tiny_card()).follow(jpeg(), PIXELS, lost)
    lost.cancel()
    await asyncio.sleep(0)
    await kept.written()
    assert files(tmp_path) == []


async def test_a_server_keeps_pictures_only_where_a_folder_is_set(tiny_models_root: Path, tmp_path: Path) -> None:
    where = {"models": tiny_models_root, "engine": "openvino", "precision": "float32"}
    for folder, expected in (("", 0), (str(tmp_path), 1)):
        settings = Settings(**where, keep_samples=folder, keep_samples_below=1.1)  # type: ignore[arg-type]
        catalog = Catalog(settings)
        await catalog.load()
        await catalog.find(COLOUR).classify(jpeg(), asyncio.get_running_loop().time() + 10)
        await asyncio.sleep(0.1)
        await catalog.close()
        assert len(files(tmp_path)) == expected
