from __future__ import annotations

import asyncio
import io

import httpx
import numpy as np
import pytest
from PIL import Image

from classifier.explanation import CELLS, WINDOWS
from classifier.loaded_model import LoadedModel
from service.inference.batching import Batcher, BatchScheduler
from tests.service.pictures import TEXT, jpeg
from tests.service.running_batches import batches_of
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.anyio

EXPLAIN = f"/v1/models/{COLOUR}/explain"


async def test_an_explanation_is_of_the_most_probable_label(client: httpx.AsyncClient, offline: LoadedModel) -> None:
    body = jpeg(120, 90)
    answer = (await client.post(EXPLAIN, content=body)).json()
    best = offline.predict(body)[0]
    assert (answer["model"], answer["label"]) == (COLOUR, best.label)
    assert answer["probability"] == pytest.approx(best.probability, abs=1e-5)
    heat = np.array(answer["heat"])
    assert heat.shape == (CELLS, CELLS)
    assert 0.0 <= heat.min() <= heat.max() <= 1.0


async def test_any_label_can_be_explained(client: httpx.AsyncClient, offline: LoadedModel) -> None:
    least = offline.predict(jpeg())[-1].label
    assert (await client.post(EXPLAIN, content=jpeg(), params={"label": least})).json()["label"] == least


async def test_a_label_that_is_not_there_is_refused_naming_those_there_are(
    client: httpx.AsyncClient, offline: LoadedModel
) -> None:
    answer = await client.post(EXPLAIN, content=jpeg(), params={"label": "unicorn"})
    assert answer.status_code == 400
    assert offline.card.labels[0] in answer.json()["detail"]


async def test_asked_for_a_png_it_gives_a_picture_to_lay_over_the_image(
    client: httpx.AsyncClient, offline: LoadedModel
) -> None:
    answer = await client.post(EXPLAIN, content=jpeg(), headers={"accept": "image/png"})
    picture = Image.open(io.BytesIO(answer.content))
    height, width, _ = offline.card.input.shape
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGBA", (width, height))


async def test_what_is_no_image_is_refused_as_in_predict(client: httpx.AsyncClient) -> None:
    assert (await client.post(EXPLAIN, content=TEXT)).status_code == 415


async def test_too_many_explanations_at_once_are_refused_and_the_rest_are_answered(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(client.post(EXPLAIN, content=jpeg()) for _ in range(24)))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) <= {200, 429}
    assert statuses.count(200) >= 8


async def test_ordinary_requests_overtake_the_batches_of_an_explanation() -> None:
    order: list[str] = []
    scheduler = BatchScheduler(1)

    async def forward(items: list[str]) -> list[str]:
        order.extend(items)
        await asyncio.sleep(0)
        return items

    behind: Batcher[str, str] = Batcher(
        batches_of(forward), scheduler, max_batch=1, queue_limit=WINDOWS, background=True
    )
    ordinary: Batcher[str, str] = Batcher(batches_of(forward), scheduler, max_batch=1)
    never = asyncio.get_running_loop().time() + 60
    waiting = [behind.submit(f"window {i}", never) for i in range(3)] + [ordinary.submit("picture", never)]
    await asyncio.gather(*waiting)
    assert order[0] == "picture"
