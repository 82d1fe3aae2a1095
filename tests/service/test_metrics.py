from __future__ import annotations

import httpx
import pytest
from starlette.applications import Starlette

from service.metrics import OTHER, Endpoints
from tests.service.test_gate import gated, traffic  # noqa: F401 (fixtures)
from tests.service.test_routes import PREDICT
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
