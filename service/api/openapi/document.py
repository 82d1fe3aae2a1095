"""The OpenAPI document, from what the code itself knows: routes, errors, limits, models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from classifier.errors import (
    ImageTooLarge,
    NotAnImage,
    OutOfMemory,
    RolloutFileError,
    SightlineError,
    TooComplexImage,
    TooMuchToDecode,
    TooSlowToDecode,
    UndecodableImage,
    UnknownModel,
)
from classifier.prediction_sets import UnknownCoverage
from classifier.rollout_file import ALIAS_PATTERN
from service import errors
from service.api.openapi import limits
from service.api.openapi import schemas as schemas
from service.api.openapi.page import html
from service.api.responses import JSON, PROBLEM_JSON, json_response
from service.errors import problem
from service.inference.catalog import Catalog

# What every route may answer; what every one that reads a body may; what every one of a model may.
ALWAYS: tuple[type[SightlineError], ...] = (
    *(errors.Unauthorized, errors.HostNotAllowed, errors.HeadTooLarge, errors.TooManyConnections, errors.Overloaded),
)
WITH_BODY = (
    *(errors.MalformedRequest, errors.UploadTooSlow, errors.BodyTooLarge, errors.UnsupportedMediaType),
    *(errors.TooManyBytes, errors.Closing, errors.DeadlinePassed, errors.CallerGone),
)
OF_MODEL = (errors.MalformedRequest, UnknownModel, errors.NotReady)
OF_RELOAD = (RolloutFileError, errors.NoSuchPath, errors.NotReady)
OF_IMAGE: tuple[type[SightlineError], ...] = (
    *(NotAnImage, UndecodableImage, ImageTooLarge, TooComplexImage, TooSlowToDecode, TooMuchToDecode),
)
_SHOWN = (schemas.TOP_K, schemas.COVERAGE)  # of an answer
OF_WORK = (errors.QueueFull, errors.DecodersBusy, errors.NotServed, errors.BrokenForward, OutOfMemory)


async def answer(request: Request) -> Response:
    """GET /openapi.json"""
    return json_response(document(request.app.state.catalog))


async def page(request: Request) -> Response:
    """GET /docs"""
    headers = {"content-security-policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'"}
    return Response(html(document(request.app.state.catalog)), headers=headers, media_type="text/html")


ROUTES = (Route("/openapi.json", answer), Route("/docs", page))


def document(catalog: Catalog) -> dict[str, Any]:
    """OpenAPI 3.1 of the routes that callers are meant to use."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sightline",
            "version": "1",
            "summary": "Image classification",
            "description": _about_limits(),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"bearer": []}],
        "paths": _paths(catalog),
        "components": {
            "schemas": schemas.SCHEMAS,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _paths(catalog: Catalog) -> dict[str, Any]:
    most = catalog.settings.max_images
    paths: dict[str, Any] = {}
    paths["/v1/server"] = {"get": _operation("What runs here, since when, and how it is set", "Server", (), ())}
    paths["/v1/models"] = {"get": _operation("What is served", "Models", (), ())}
    for at, parameters in (*_both_paths("/v1/models/{model}", catalog), _alias_path(catalog)):
        paths[at] = {"get": _operation("Labels, input, accuracy, engine", "ModelState", parameters, OF_MODEL)}
        for name, text, schema, query, bodies in (
            ("predict", "Classify one image", "Predictions", _SHOWN, schemas.IMAGE_BODIES),
            (
                "predict-batch",
                f"Classify up to {most} images, each on its own",
                "Results",
                _SHOWN,
                schemas.IMAGES_BODY,
            ),
            ("explain", "What a decision rests on", "Explanation", (schemas.LABEL,), schemas.IMAGE_BODIES),
        ):
            faults = (*OF_MODEL, *WITH_BODY, *(() if name == "predict-batch" else OF_IMAGE), *OF_WORK)
            faults = faults if name == "explain" else (*faults, UnknownCoverage)
            operation = _operation(text, schema, (*parameters, *query, schemas.TIMEOUT, schemas.KEY), faults, bodies)
            if name == "explain":
                operation["responses"]["200"]["content"]["image/png"] = {"schema": {}}
            paths[f"{at}/{name}"] = {"post": operation}
    reload = _operation("Look at the models folder now; wants an admin key", "Any", (), (*WITH_BODY, *OF_RELOAD))
    paths["/v1/admin/reload"] = {"post": reload}
    return paths | _protocol_paths(catalog) | _probe_paths()


def _protocol_paths(catalog: Catalog) -> dict[str, Any]:
    """The Open Inference Protocol, in its own words and with its own errors."""
    paths: dict[str, Any] = {}
    for path, text in {
        "/v2": "Server metadata",
        "/v2/health/live": "Whether the server lives",
        "/v2/models": "The names of the models",
        "/v2/models/stats": "How often and how long every model ran",
    }.items():
        paths[path] = {"get": _operation(text, "Any", (), (), v2=True)}
    ready = _operation("Whether every model answers", "Any", (), (errors.NotReady,), v2=True)
    paths["/v2/health/ready"] = {"get": ready}
    index = _operation("Every version and its state", "Any", (), WITH_BODY, schemas.INDEX_BODY, v2=True)
    paths["/v2/repository/index"] = {"post": index}
    for at, parameters in _both_paths("/v2/models/{model}", catalog):
        paths[at] = {"get": _operation("Model metadata", "Any", parameters, (*OF_MODEL, *OF_WORK), v2=True)}
        for name in ("ready", "config", "stats"):
            about = _operation(f"The model's {name}", "Any", parameters, (*OF_MODEL, *OF_WORK), v2=True)
            paths[f"{at}/{name}"] = {"get": about}
        faults = (*OF_MODEL, *WITH_BODY, *OF_IMAGE, *OF_WORK)
        infer = _operation(
            "Run the network", "Any", (*parameters, schemas.TIMEOUT, schemas.KEY), faults, schemas.INFER_BODY, v2=True
        )
        infer["responses"]["200"]["content"]["application/octet-stream"] = {"schema": {}}
        paths[f"{at}/infer"] = {"post": infer}
    return paths


def _probe_paths() -> dict[str, Any]:
    text = {"text/plain": {"schema": {"type": "string"}}}
    paths = {
        "/livez": "Whether the server lives",
        "/readyz": "Whether every model answers, and what cannot be loaded; 503 also while the server shuts down",
        "/metrics": "For Prometheus",
    }
    return {
        path: {
            "get": {
                "summary": summary,
                "responses": {"200": {"description": "yes", "content": text}}
                | ({"503": {"description": "not now, and why", "content": text}} if path != "/metrics" else {}),
            }
        }
        for path, summary in paths.items()
    }


def _both_paths(path: str, catalog: Catalog) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """A model's path, by default its newest version, and the path of one version; with their parameters."""
    model = _model_parameter(catalog)
    version = _path_parameter("version", {"type": "integer", "minimum": 1, "maximum": 999_999_999}, [1])
    yield path, (model,)
    yield f"{path}/versions/{{version}}", (model, version)


def _alias_path(catalog: Catalog) -> tuple[str, tuple[Any, ...]]:
    """The path of whichever version an alias stands for, with its parameters."""
    alias = _path_parameter("alias", {"type": "string", "pattern": ALIAS_PATTERN}, ["stable"])
    return "/v1/models/{model}/aliases/{alias}", (_model_parameter(catalog), alias)


def _model_parameter(catalog: Catalog) -> dict[str, Any]:
    names = list(catalog.entries) or ["cats-vs-dogs"]
    return _path_parameter("model", {"type": "string", "pattern": "^[a-z0-9-]+$"}, names)


def _path_parameter(name: str, schema: Any, examples: Sequence[Any]) -> dict[str, Any]:
    shown = {str(example): {"value": example} for example in examples}
    return {"name": name, "in": "path", "required": True, "schema": schema, "examples": shown}


def _operation(
    summary: str,
    schema: str,
    parameters: Sequence[Any],
    faults: Sequence[type[SightlineError]],
    bodies: Any = None,
    *,
    v2: bool = False,
) -> dict[str, Any]:
    good = {"description": "the answer", "headers": schemas.HEADERS, "content": {JSON: {"schema": schemas.ref(schema)}}}
    responses = {"200": good} | _refusals((*ALWAYS, *faults), v2=v2)
    about = {"summary": summary, "parameters": list(parameters), "responses": responses}
    return about | ({"requestBody": {"required": True, "content": bodies}} if bodies else {})


def _refusals(faults: Sequence[type[SightlineError]], *, v2: bool) -> dict[str, Any]:
    by_status: dict[int, list[type[SightlineError]]] = {}
    for fault in dict.fromkeys(faults):
        by_status.setdefault(fault.status, []).append(fault)
    return {str(status): _refusal(kinds, v2=v2) for status, kinds in sorted(by_status.items())}


def _refusal(kinds: Sequence[type[SightlineError]], *, v2: bool) -> dict[str, Any]:
    problems = [problem(kind.__new__(kind, kind.__doc__ or "")) for kind in kinds]
    schema, media_type = ("ProtocolError", JSON) if v2 else ("Problem", PROBLEM_JSON)
    examples = {p["code"]: {"value": {"error": p["detail"]} if v2 else p} for p in problems}
    content = {"schema": schemas.ref(schema), "examples": examples}
    types = {PROBLEM_JSON, JSON} if v2 else {media_type}  # the connection itself answers with problems everywhere
    return {
        "description": "; ".join(p["title"] for p in problems),
        "content": dict.fromkeys(sorted(types), content),
    }


def _about_limits() -> str:
    rows = [f"- {row.what}: {row.default} ({row.setting}), then {row.status} {row.code}" for row in limits.describe()]
    return "\n".join(["Limits, with their defaults:", "", *rows])
