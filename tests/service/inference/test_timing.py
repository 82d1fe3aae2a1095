from __future__ import annotations

import re

import httpx
import numpy as np
import pytest
from starlette.responses import Response

from service.api.responses import TIMING_HEADER, timed
from service.inference.timing import Classified, server_timing
from tests.service.api.test_routes import BATCH, PREDICT
from tests.service.pictures import TEXT, jpeg
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.anyio

ROW = np.array([0.25, 0.75], np.float32)
STEPS = re.compile(r"decode;dur=[0-9.]+, queue;dur=[0-9.]+, infer;dur=[0-9.]+")


def test_the_header_gives_milliseconds_by_step() -> None:
    assert server_timing([Classified(ROW, 1_500_000, 20_000, 3_000_000)]) == (
        "decode;dur=1.500, queue;dur=0.020, infer;dur=3.000"
    )


def test_of_several_images_it_gives_the_longest_of_each_step() -> None:
    images = [Classified(ROW, 1_000_000, 9_000_000, 2_000_000), Classified(ROW, 4_000_000, 0, 5_000_000)]
    assert server_timing(images) == "decode;dur=4.000, queue;dur=9.000, infer;dur=5.000"


def test_an_answer_without_a_classified_image_has_no_timing() -> None:
    assert TIMING_HEADER not in timed(Response(), []).headers


async def test_every_way_to_a_classification_says_where_the_time_went(client: httpx.AsyncClient) -> None:
    pixels = {"name": "image", "shape": [1, 8, 8, 3], "datatype": "UINT8", "data": [7] * 192}
    for answer in (
        await client.post(PREDICT, content=jpeg()),
        await client.post(BATCH, files=[("images", jpeg()), ("images", TEXT)]),
        await client.post(f"/v2/models/{COLOUR}/infer", json={"inputs": [pixels]}),
    ):
        assert answer.status_code == 200, answer.text
        assert STEPS.fullmatch(answer.headers[TIMING_HEADER])
