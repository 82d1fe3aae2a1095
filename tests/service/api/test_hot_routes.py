from __future__ import annotations

from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from service.api.hot_routes import HotRoutes
from service.api.routes import HOT
from tests.service.api.test_routes import BATCH, PREDICT, check_problem
from tests.service.pictures import TEXT, jpeg
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.anyio


async def others(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("the others")(scope, receive, send)


def by_hot_routes(app: Starlette) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(HotRoutes(app, HOT, others)), base_url="http://sightline")


async def test_the_short_way_gives_the_answers_of_the_long_one(app: Starlette, client: httpx.AsyncClient) -> None:
    def without_times(answer: httpx.Response) -> tuple[int, Any, list[str]]:
        return answer.status_code, answer.json(), sorted(answer.headers)

    infer = f"/v2/models/{COLOUR}/versions/1/infer"
    async with by_hot_routes(app) as hot:
        for path, sent in (
            (PREDICT, {"content": jpeg()}),
            (f"/v1/models/{COLOUR}/versions/1/predict?top_k=1", {"content": jpeg()}),
            (PREDICT, {"content": TEXT}),
            ("/v1/models/unknown/predict", {"content": jpeg()}),
            (f"{PREDICT}?nothing=1", {"content": jpeg()}),
            (BATCH, {"files": [("images", jpeg()), ("images", TEXT)]}),
            (infer, {"content": b"{}"}),
            (infer, {"content": jpeg(), "headers": {"inference-header-content-length": "0"}}),
        ):
            arguments: dict[str, Any] = dict(sent)
            short, long = await hot.post(path, **arguments), await client.post(path, **arguments)
            if short.headers["content-type"] == "application/octet-stream":
                assert short.content == long.content
                continue
            assert without_times(short) == without_times(long), path


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", PREDICT), ("GET", "/v1/models"), ("POST", "/classify"), ("POST", f"{PREDICT}/more"), ("GET", "/readyz")],
)
async def test_everything_else_goes_on_to_the_others(app: Starlette, method: str, path: str) -> None:
    async with by_hot_routes(app) as hot:
        assert (await hot.request(method, path)).text == "the others"


async def test_a_failure_of_the_server_is_an_answer_here_too(app: Starlette, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.state.catalog, "find", lambda *_: 1 / 0)
    async with by_hot_routes(app) as hot:
        check_problem(await hot.post(PREDICT, content=jpeg()), 500, "internal")


def test_a_template_that_no_route_has_is_a_mistake(app: Starlette) -> None:
    with pytest.raises(ValueError, match="/v3"):
        HotRoutes(app, ["/v3"], others)
