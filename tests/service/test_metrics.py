from __future__ import annotations

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette

from service import metrics
from service.metrics import OTHER, Endpoints
from tests.service.api.test_middleware import gated, traffic  # noqa: F401 (fixtures)
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


async def test_paths_that_somebody_makes_up_make_no_series(gated: httpx.AsyncClient) -> None:  # noqa: F811
    async def series() -> int:
        return len((await gated.get("/metrics")).text.splitlines())

    for path in ("/made-up", "/v1/made-up", "/v2/made-up", "/v1/models/made-up"):
        await gated.get(path)
    await series()  # which counts itself from the second time on
    before = await series()
    for number in range(50):
        for path in (f"/{number}", f"/v1/{number}", f"/v2/{number}", f"/v1/models/{number}"):
            await gated.get(path)
    assert await series() == before


async def test_rejections_are_counted_by_their_code(gated: httpx.AsyncClient) -> None:  # noqa: F811
    await gated.post(PREDICT, content=b"no image")
    assert 'sightline_rejected_total{reason="not-an-image"}' in (await gated.get("/metrics")).text


async def value(gated: httpx.AsyncClient, series: str) -> float:  # noqa: F811
    """The value of one series now; 0 where there is none yet."""
    lines = (await gated.get("/metrics")).text.splitlines()
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
async def test_every_image_is_counted_once(gated: httpx.AsyncClient, series: str, increase: int) -> None:  # noqa: F811
    before = await value(gated, series)
    await gated.post(PREDICT, content=jpeg())
    await gated.post(BATCH, files=[("images", jpeg(seed=seed)) for seed in range(3)])
    assert await value(gated, series) == before + increase


async def test_an_observation_is_in_the_first_bucket_that_holds_it() -> None:
    tally = metrics.Tally(metrics.QUEUE_SECONDS, "bucket-test", "1")
    for seconds in (0.002, 0.0021, 100.0):
        tally.observe(seconds)
    text = metrics.text().decode()
    counts = {
        line.partition('le="')[2].partition('"')[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("sightline_queue_seconds_bucket") and "bucket-test" in line
    }
    assert (counts["0.001"], counts["0.002"], counts["0.005"], counts["30.0"], counts["+Inf"]) == (0, 1, 2, 2, 3)
    assert 'sightline_queue_seconds_sum{model="bucket-test",version="1"} 100.004' in text


async def test_what_nobody_flushes_does_not_grow_for_ever() -> None:
    tally = metrics.Tally(metrics.QUEUE_SECONDS, "growth-test", "1")
    for _ in range(3):
        tally.observe(*[0.001] * (tally.MOST - 1))
        assert len(tally._seen) <= tally.MOST
    answers = metrics.Answers("growth-test", "1", ("a", "b"))
    for _ in range(3 * answers.MOST):
        answers.note(np.array([[0.25, 0.75]], np.float32))
        assert len(answers._rows) <= answers.MOST
    text = metrics.text().decode()
    assert f'sightline_queue_seconds_count{{model="growth-test",version="1"}} {3 * (tally.MOST - 1)}.0' in text
    assert f'sightline_predictions_total{{label="b",model="growth-test",version="1"}} {3 * answers.MOST}.0' in text


async def test_answers_count_by_their_most_probable_label_and_how_probable_it_is() -> None:
    answers = metrics.Answers("answers-test", "1", ("a", "b", "c"))
    answers.note(np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]], np.float32))
    answers.note(np.array([[1.0, 0.0, 0.0]], np.float32))
    answers.note(np.empty((0, 3), np.float32))  # a pass of which no row was a number
    text = metrics.text().decode()
    assert 'sightline_predictions_total{label="a",model="answers-test",version="1"} 2.0' in text
    assert 'sightline_predictions_total{label="b",model="answers-test",version="1"}' not in text
    assert 'sightline_predictions_total{label="c",model="answers-test",version="1"} 1.0' in text
    assert 'sightline_confidence_bucket{le="0.7",model="answers-test",version="1"} 2.0' in text
    assert 'sightline_confidence_count{model="answers-test",version="1"} 3.0' in text


async def test_flushing_twice_counts_once() -> None:
    tally = metrics.Tally(metrics.BATCH_IMAGES, "flush-test", "1")
    tally.observe(3)
    metrics.flush()
    assert metrics.text().count(b'sightline_batch_images_count{model="flush-test",version="1"} 1.0\n') == 1
