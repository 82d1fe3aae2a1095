from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from classifier.errors import BrokenModel, EngineUnavailable, SightlineError
from classifier.images import decode
from classifier.loaded_model import LoadedModel
from service import errors
from service.api.openapi.schemas import PIXEL_PNG
from tests.service.test_errors import SERVED, tree
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.anyio

# The operator's own errors, those that go no further than the server, and those of paths that are none.
NEVER_SENT = {
    errors.SettingsError,
    errors.NoSuchPath,
    errors.MethodNotAllowed,
    *tree(BrokenModel),
    EngineUnavailable,
}
SENT = [kind for kind in SERVED if not kind.__subclasses__() and kind not in NEVER_SENT]


@pytest.fixture
async def document(client: httpx.AsyncClient) -> Any:
    return (await client.get("/openapi.json")).json()


async def test_every_route_is_described_and_everything_described_is_a_route(app: Starlette, document: Any) -> None:
    routes = {
        (method.lower(), re.sub(r"/$", "", route.path) or "/")
        for route in app.routes
        if isinstance(route, Route) and ":path}" not in route.path
        for method in (route.methods or ())
        if method != "HEAD"
    }
    ours = {("get", path) for path in ("/", "/docs", "/openapi.json", "/v1")}
    described = {(method, path) for path, operations in document["paths"].items() for method in operations}
    probes = {("get", "/livez"), ("get", "/readyz")}
    assert {route for route in routes - ours if route[1] != "/v1"} == described - probes


async def test_every_reference_leads_somewhere(document: Any) -> None:
    for name in set(re.findall(r"#/components/schemas/(\w+)", str(document))):
        assert name in document["components"]["schemas"]


@pytest.mark.parametrize("kind", SENT, ids=lambda kind: kind.__name__)
async def test_every_error_that_callers_meet_has_an_example(kind: type[SightlineError], document: Any) -> None:
    examples = [
        example["value"]
        for operations in document["paths"].values()
        for operation in operations.values()
        for response in operation["responses"].values()
        for content in response["content"].values()
        for example in content.get("examples", {}).values()
    ]
    (title,) = {example["title"] for example in examples if example.get("code") == kind.code}
    assert title == kind.title


async def test_the_examples_of_bodies_are_answered(client: httpx.AsyncClient, document: Any) -> None:
    sent = 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for kind, body in operation.get("requestBody", {}).get("content", {}).items():
                for example in body.get("examples", {}).values():
                    url = path.format(model=COLOUR, version=1, alias="stable")
                    answer = await client.request(method, url, json=example["value"])
                    assert answer.status_code == 200, (url, kind, answer.text)
                    sent += 1
    assert sent >= 6


async def test_the_picture_in_the_examples_is_one(offline: LoadedModel) -> None:
    assert decode(PIXEL_PNG, offline.card.input).shape == offline.card.input.shape


async def test_the_limits_stand_in_the_description(document: Any) -> None:
    assert "SIGHTLINE_MAX_BODY_BYTES" in document["info"]["description"]


async def test_the_page_describes_every_path_and_asks_nobody_else(client: httpx.AsyncClient, document: Any) -> None:
    page = await client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    for path in document["paths"]:
        assert f"{path}</code>" in page.text
    assert not re.search(r"https?://|<script|style=|onclick", page.text.replace("urn:", ""))
    assert "'unsafe" not in page.headers["content-security-policy"]
