from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from classifier.errors import BrokenModel, EngineUnavailable, SightlineError
from classifier.images import decode
from classifier.loaded_model import LoadedModel
from service import errors
from service.api.openapi.schemas import PIXEL_PNG
from service.inference.catalog import Catalog
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


def operations_of(document: Any) -> list[tuple[str, str, Any]]:
    return [
        (method, path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]


async def test_every_operation_has_a_name_of_its_own_and_a_group(document: Any) -> None:
    names = [operation["operationId"] for _, _, operation in operations_of(document)]
    assert len(set(names)) == len(names)
    groups = {tag["name"] for tag in document["tags"]}
    assert {tag for _, _, operation in operations_of(document) for tag in operation["tags"]} == groups


async def test_every_operation_has_an_example_of_its_answer_in_the_form_that_it_says(document: Any) -> None:
    for _, path, operation in operations_of(document):
        content = next(iter(operation["responses"]["200"]["content"].values()))
        schema = content["schema"] | {"components": document["components"]}
        assert jsonschema_rs.is_valid(schema, content["example"]), path


async def test_the_examples_have_the_members_that_the_server_answers(client: httpx.AsyncClient, document: Any) -> None:
    compared = 0
    for method, path, operation in operations_of(document):
        example = next(iter(operation["responses"]["200"]["content"].values()))["example"]
        if method == "get" and isinstance(example, dict):
            answer = (await client.get(path.format(model=COLOUR, version=2, alias="stable"))).json()
            assert set(example) <= set(answer) | {"aliases", "weights"}, path
            compared += 1
    assert compared >= 15


async def test_every_array_says_what_is_in_it(document: Any) -> None:
    def arrays(part: Any) -> Iterator[Any]:
        if isinstance(part, dict):
            if part.get("type") == "array":
                yield part
            part = list(part.values())
        for each in part if isinstance(part, list) else ():
            yield from arrays(each)

    found = list(arrays(document))
    assert len(found) > 10
    assert all("items" in array for array in found)


async def test_a_model_for_photos_is_the_first_example(document: Any, catalog: Catalog) -> None:
    parameter = document["paths"]["/v1/models/{model}"]["get"]["parameters"][0]
    shapes = [catalog.find(example["value"]).card.input for example in parameter["examples"].values()]
    sizes = [shape.height * shape.width for shape in shapes]
    assert sizes == sorted(sizes, reverse=True)
