from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from classifier.loaded_model import LoadedModel
from service.errors import BrokenForward, DeadlinePassed, QueueFull
from service.inference.batching import BatchScheduler
from service.inference.catalog import Catalog
from service.inference.classifier import Classifier
from service.inference.decode_pool import DecodePool
from service.settings import Settings
from tests.pictures import noise, png
from tests.service.engines import HeldEngine
from tests.service.pictures import TEXT, jpeg
from tests.tiny_models import COLOUR, GREY

pytestmark = pytest.mark.anyio


@pytest.fixture
def engine() -> HeldEngine:
    return HeldEngine()


@pytest.fixture
def held(offline: LoadedModel, engine: HeldEngine, settings: Settings) -> Iterator[Classifier]:
    """A classifier of the colour model with a fake in place of its engine, and room for four images."""
    model = LoadedModel(offline.card, engine, offline.sample)  # type: ignore[arg-type]
    small = dataclasses.replace(settings, queue_limit=4, max_batch=2, max_images=4)
    with closing(DecodePool(1)) as threads:
        yield Classifier(model, BatchScheduler(1), threads, small)


def soon(seconds: float = 5.0) -> float:
    return asyncio.get_running_loop().time() + seconds


def pictures(images: int, height: int = 8, width: int = 8, channels: int = 3) -> Any:
    return np.stack([noise(height, width, channels, seed=seed) for seed in range(images)])


@pytest.mark.parametrize("images", [1, 5, 40])
async def test_pixels_get_the_probabilities_of_the_model_itself(catalog: Catalog, images: int) -> None:
    classifier, pixels = catalog.find(COLOUR), pictures(images)
    classified = await classifier.classify_pixels(pixels, soon())
    np.testing.assert_allclose(
        np.stack([image.row for image in classified]), classifier.model.engine.infer(pixels), atol=1e-5
    )


async def test_pixels_get_the_contrast_step_that_files_get(catalog: Catalog) -> None:
    classifier = catalog.find(GREY)
    dull = 100 + noise(28, 28, 1) // 8
    from_file = await classifier.classify(png(dull[..., 0]), soon())
    from_pixels = await classifier.classify_pixels(dull[None], soon())
    np.testing.assert_allclose(from_pixels[0].row, from_file.row, atol=1e-6)


async def test_every_image_is_queued_on_its_own(held: Classifier, engine: HeldEngine) -> None:
    work = asyncio.create_task(held.classify_pixels(pictures(4), soon()))
    for _ in range(2):  # max_batch is 2
        await engine.give(0.2, 0.3, 0.5)
    assert len(await work) == 4
    with pytest.raises(QueueFull, match="no room for 5 more"):
        await held.classify_pixels(pictures(5), soon())


async def test_pixels_and_files_share_the_queue_and_its_limit(held: Classifier, engine: HeldEngine) -> None:
    work = asyncio.create_task(held.classify_pixels(pictures(2), soon()))  # these run
    await asyncio.sleep(0.01)
    more = asyncio.create_task(held.classify_each([jpeg()] * 3, soon()))
    await asyncio.sleep(0.01)
    with pytest.raises(QueueFull):
        await held.classify_pixels(pictures(2), soon())
    for _ in range(3):
        await engine.give(0.2, 0.3, 0.5)
    assert len(await work) + len(await more) == 5


async def test_callers_who_leave_give_their_room_back(held: Classifier, engine: HeldEngine) -> None:
    running = asyncio.create_task(held.classify(jpeg(), soon()))
    await asyncio.sleep(0.01)
    for _ in range(3):
        work = asyncio.create_task(held.classify_pixels(pictures(4), soon()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
    await engine.give(0.2, 0.3, 0.5)
    await running
    assert engine.batches.empty()


async def test_pixels_that_wait_past_their_deadline_are_dropped(held: Classifier, engine: HeldEngine) -> None:
    running = asyncio.create_task(held.classify_pixels(pictures(2), soon()))
    await asyncio.sleep(0.01)
    work = asyncio.create_task(held.classify_pixels(pictures(2), soon(0.001)))
    await asyncio.sleep(0.01)
    await engine.give(0.2, 0.3, 0.5)
    await running
    with pytest.raises(DeadlinePassed):
        await work


async def test_an_answer_that_is_no_number_never_gets_out(held: Classifier, engine: HeldEngine) -> None:
    work = asyncio.create_task(held.classify_pixels(pictures(1), soon()))
    await engine.give(0.5, float("nan"), 0.5)
    with pytest.raises(BrokenForward, match="NaN or infinity"):
        await work


@pytest.mark.parametrize(
    "pixels",
    [pictures(1).astype(np.float32), pictures(1)[0], pictures(1)[:0], pictures(1, 9)],
    ids=lambda p: str(p.shape),
)
async def test_anything_but_the_networks_input_is_a_mistake_of_the_program(held: Classifier, pixels: Any) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \[1 or more, 8, 8, 3\]"):
        await held.classify_pixels(pixels, soon())


async def test_work_through_every_route_is_counted(held: Classifier, engine: HeldEngine) -> None:
    work = []
    for ask in (
        lambda: held.classify_pixels(pictures(2), soon()),
        lambda: held.classify(jpeg(), soon()),
        lambda: held.classify_each([jpeg(), TEXT], soon()),
    ):
        work.append(asyncio.create_task(ask()))
        await asyncio.sleep(0.01)
    for _ in range(2):
        await engine.give(0.2, 0.3, 0.5)
    await asyncio.gather(*work)
    entry = held.statistics.as_json(COLOUR, 2)
    assert (entry["inference_count"], entry["execution_count"]) == (4, 2)
    assert [batch["batch_size"] for batch in entry["batch_stats"]] == [2]
    stats = entry["inference_stats"]
    assert (stats["success"]["count"], stats["fail"]["count"]) == (4, 1)
    for step in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"):
        assert stats[step]["ns"] > 0, step
    parts = sum(stats[step]["ns"] for step in ("queue", "compute_input", "compute_infer", "compute_output"))
    assert parts <= stats["success"]["ns"]


async def test_images_that_are_refused_are_counted(held: Classifier) -> None:
    with pytest.raises(QueueFull):
        await held.classify_pixels(pictures(5), soon())
    assert held.statistics.fail.count == 5
