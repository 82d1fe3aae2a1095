"""The server keeps its OpenAPI document, whatever Schemathesis makes of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from service.api.deadlines import TIMEOUT_HEADER
from service.api.openapi.document import document
from service.settings import Settings
from tests.e2e.servers import Server

pytestmark = pytest.mark.e2e

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

_NO_MODELS: Any = SimpleNamespace(settings=Settings(), entries={})
OPERATIONS = [(m, path) for path, operations in document(_NO_MODELS)["paths"].items() for m in operations]


@pytest.fixture(scope="module")
def api(server: Server) -> Any:
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=[f"{m} {path}" for m, path in OPERATIONS])
def test_every_answer_is_one_that_the_document_describes(
    api: Any, method: str, path: str, mode: GenerationMode
) -> None:
    operation = api[path][method.upper()]
    if mode is GenerationMode.NEGATIVE and not (operation.path_parameters or operation.body):
        pytest.skip("there is nothing in this request that could be wrong")

    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    @hypothesis.settings(
        max_examples=20, deadline=None, suppress_health_check=list(hypothesis.HealthCheck), database=None
    )
    def ask(case: schemathesis.Case) -> None:
        asked = str((case.headers or {}).get(TIMEOUT_HEADER, ""))
        if asked.isascii() and asked.isdecimal() and 0 < int(asked) < 1_000:
            case.headers[TIMEOUT_HEADER] = "1000"  # who leaves the server a millisecond rightly gets a 504
        case.call_and_validate(checks=CHECKS)

    ask()
