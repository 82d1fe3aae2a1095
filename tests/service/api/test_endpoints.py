from __future__ import annotations

import sys

import httpx
import pytest
from starlette.applications import Starlette

from service.api.endpoints import OTHER, Endpoints
from service.api.traffic import Traffic
from service.metrics import CONTENT_TYPE
from tests.service.api.test_middleware import guarded, traffic  # noqa: F401 (fixtures)
from tests.service.api.test_routes import BATCH, PREDICT
from tests.service.pictures import jpeg
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("path", "template"),
    [
        (PREDICT, "/v1/models/{model}/predict"),
        (f"/v1/models/{COLOUR}/versions/1/predict", "/v1/models/{model}/versions/{version}/predict"),
        ("/v1/models/no-such-model/predict", "/v1/models/{model}/predict"),
        (f"/v2/models/{COLOUR}/infer", "/v2/models/{model}/infer"),
        ("/v1/anything/else", "/v1/{rest:path}"),
        ("/", "/"),
        ("/livez", "/livez"),
        ("/wp-admin.php", OTHER),
    ],
)
async def test_a_path_is_counted_under_the_template_of_its_route(app: Starlette, path: str, template: str) -> None:
    assert Endpoints(app.routes, ["/livez"]).template(path) == template


async def test_paths_that_somebody_makes_up_make_no_series(guarded: httpx.AsyncClient) -> None:  # noqa: F811
    async def series() -> int:
        return len((await guarded.get("/metrics")).text.splitlines())

    for path in ("/made-up", "/v1/made-up", "/v2/made-up", "/v1/models/made-up"):
        await guarded.get(path)
    await series()  # which counts itself from the second time on
    before = await series()
    for number in range(50):
        for path in (f"/{number}", f"/v1/{number}", f"/v2/{number}", f"/v1/models/{number}"):
            await guarded.get(path)
    assert await series() == before


async def test_prometheus_is_answered_in_its_text_format(guarded: httpx.AsyncClient) -> None:  # noqa: F811
    answer = await guarded.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"]) == (200, CONTENT_TYPE)
    assert 'bentoml_service_request_in_progress{service_name="sightline"} 1.0\n' in answer.text  # this one


async def test_rejections_are_counted_by_their_code(guarded: httpx.AsyncClient) -> None:  # noqa: F811
    before = await value(guarded, 'sightline_rejected_total{reason="not-an-image"}')
    await guarded.post(PREDICT, content=b"no image")
    assert await value(guarded, 'sightline_rejected_total{reason="not-an-image"}') == before + 1


async def value(guarded: httpx.AsyncClient, series: str) -> float:  # noqa: F811
    """The value of one series now; 0 where there is none yet."""
    lines = (await guarded.get("/metrics")).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(series))


MODEL = f'model="{COLOUR}",version="2"'


@pytest.mark.parametrize(
    ("series", "increase"),
    [
        (f"sightline_decode_seconds_count{{{MODEL}}}", 4),
        (f"sightline_queue_seconds_count{{{MODEL}}}", 4),
        (f"sightline_confidence_count{{{MODEL}}}", 4),
        (f"sightline_batch_images_sum{{{MODEL}}}", 4),
        ("sightline_predictions_total{label=", 4),
        ('bentoml_service_request_total{endpoint="/v1/models/{model}/predict",', 1),
        ('bentoml_service_request_duration_seconds_count{endpoint="/v1/models/{model}/predict",', 1),
    ],
)
async def test_every_image_is_counted_once(guarded: httpx.AsyncClient, series: str, increase: int) -> None:  # noqa: F811
    before = await value(guarded, series)
    await guarded.post(PREDICT, content=jpeg())
    await guarded.post(BATCH, files=[("images", jpeg(seed=seed)) for seed in range(3)])
    assert await value(guarded, series) == before + increase


async def test_long_paths_are_not_kept(
    traffic: Traffic,  # noqa: F811
) -> None:
    path = "/v1/" + "x" * 31_000
    before = sys.getrefcount(path)
    traffic.count(path, 404, 0.1)
    traffic.shed(path.encode())
    assert sys.getrefcount(path) == before
    assert not traffic.is_shed(path.encode())
