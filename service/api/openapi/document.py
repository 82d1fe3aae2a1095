"""The OpenAPI document, from what the code itself knows: routes, errors, limits, models."""

from __future__ import annotations

import re
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
from service.api.openapi import limits, page, samples
from service.api.openapi import schemas as schemas
from service.api.openapi.examples import EXAMPLES
from service.api.responses import JSON, PROBLEM_JSON, json_response
from service.errors import problem
from service.inference.catalog import Catalog
from service.inference.classifier import Classifier

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

_OIP = "Open Inference Protocol"
_WORDS = {"": "", "ByVersion": ", by one version", "ByAlias": ", by an alias"}
_KEYS = "Where the server has keys, each request carries one: the header `Authorization: Bearer KEY`."

TAGS = {
    "Classify": "What an image shows, by a model's stable version, by one version, or by an alias.",
    "Models": "What is served.",
    _OIP: "For the clients of Triton and KServe.",
    "Server": "For an orchestrator and an operator.",
}
OF_WORK = (errors.QueueFull, errors.DecodersBusy, errors.NotServed, errors.BrokenForward, OutOfMemory)


async def answer(request: Request) -> Response:
    """GET /openapi.json"""
    return json_response(document(request.app.state.catalog))


ROUTES = (Route("/openapi.json", answer), *page.ROUTES)


def document(catalog: Catalog) -> dict[str, Any]:
    """OpenAPI 3.1 of the routes that callers are meant to use."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sightline",
            "version": "1",
            "summary": "Image classification",
            "description": _about(),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"bearer": []}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": _paths(catalog),
        "components": {
            "schemas": schemas.SCHEMAS,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _paths(catalog: Catalog) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    paths["/v1/models"] = {"get": _operation("listModels", "What is served", "Models", "Models", (), ())}
    for at, parameters, by in (*_both_paths("/v1/models/{model}", catalog), _alias_path(catalog)):
        about = ("describeModel" + by, f"Labels, input, accuracy, engine{_WORDS[by]}", "Models", "ModelState")
        paths[at] = {"get": _operation(*about, parameters, OF_MODEL)}
        paths |= _classifying(at, parameters, by, catalog.settings.max_images)
    text = "What runs here, since when, and how it is set"
    paths["/v1/server"] = {"get": _operation("describeServer", text, "Server", "Server", (), ())}
    reload = ("reload", "Look at the models folder now; wants an admin key", "Server", "Reload")
    paths["/v1/admin/reload"] = {"post": _operation(*reload, (), (*WITH_BODY, *OF_RELOAD))}
    described = paths | _protocol_paths(catalog) | _probe_paths()
    for path, operations in described.items():
        for method, operation in operations.items():
            operation["x-codeSamples"] = samples.of(method, path, operation)
    return described


def _classifying(at: str, parameters: Sequence[Any], by: str, most: int) -> dict[str, Any]:
    """The routes of a model that take images."""
    paths: dict[str, Any] = {}
    for name, path, text, schema, query, bodies in (
        ("predict", "predict", "Classify one image", "Predictions", _SHOWN, schemas.IMAGE_BODIES),
        ("predictBatch", "predict-batch", f"Classify up to {most} images", "Results", _SHOWN, schemas.IMAGES_BODY),
        ("explain", "explain", "What a decision rests on", "Explanation", (schemas.LABEL,), schemas.IMAGE_BODIES),
    ):
        faults = (*OF_MODEL, *WITH_BODY, *(() if name == "predictBatch" else OF_IMAGE), *OF_WORK)
        faults = faults if name == "explain" else (*faults, UnknownCoverage)
        about = (name + by, text + _WORDS[by], "Classify", schema)
        operation = _operation(*about, (*parameters, *query, schemas.TIMEOUT, schemas.KEY), faults, bodies)
        if name == "explain":
            operation["responses"]["200"]["content"]["image/png"] = {"schema": schemas.FILE}
        paths[f"{at}/{path}"] = {"post": operation}
    return paths


def _protocol_paths(catalog: Catalog) -> dict[str, Any]:
    """The Open Inference Protocol, in its own words and with its own errors."""
    paths: dict[str, Any] = {}
    for path, name, text, schema in (
        ("/v2", "oipServer", "Server metadata", "OipServer"),
        ("/v2/health/live", "oipLive", "Whether the server lives", "OipLive"),
        ("/v2/models", "oipModels", "The names of the models", "OipModels"),
        ("/v2/models/stats", "oipStatistics", "How often and how long every model ran", "OipStatistics"),
    ):
        paths[path] = {"get": _operation(name, text, _OIP, schema, (), ())}
    ready = ("oipReady", "Whether every model answers", _OIP, "OipReady")
    paths["/v2/health/ready"] = {"get": _operation(*ready, (), (errors.NotReady,))}
    index = ("oipIndex", "Every version and its state", _OIP, "OipIndex")
    paths["/v2/repository/index"] = {"post": _operation(*index, (), WITH_BODY, schemas.INDEX_BODY)}
    for at, parameters, by in _both_paths("/v2/models/{model}", catalog):
        for path, name, text, schema in (
            ("", "oipModel", "Model metadata", "OipModel"),
            ("/ready", "oipModelReady", "Whether the model answers", "OipModelReady"),
            ("/config", "oipModelConfig", "The model's configuration, as Triton writes it", "Any"),
            ("/stats", "oipModelStatistics", "How often and how long the model ran", "OipStatistics"),
        ):
            about = (name + by, text + _WORDS[by], _OIP, schema)
            paths[at + path] = {"get": _operation(*about, parameters, (*OF_MODEL, *OF_WORK))}
        infer = ("oipInfer" + by, "Run the network" + _WORDS[by], _OIP, "InferResponse")
        faults = (*OF_MODEL, *WITH_BODY, *OF_IMAGE, *OF_WORK)
        operation = _operation(*infer, (*parameters, schemas.TIMEOUT, schemas.KEY), faults, schemas.INFER_BODY)
        operation["responses"]["200"]["content"]["application/octet-stream"] = {"schema": schemas.FILE}
        paths[f"{at}/infer"] = {"post": operation}
    return paths


def _probe_paths() -> dict[str, Any]:
    probes = {
        "/livez": ("live", "Whether the server lives"),
        "/readyz": ("ready", "Whether every model answers, and what cannot be loaded; 503 also while it shuts down"),
        "/metrics": ("metrics", "For Prometheus"),
    }
    return {path: {"get": _probe(name, summary)} for path, (name, summary) in probes.items()}


def _probe(name: str, summary: str) -> dict[str, Any]:
    text = {"schema": {"type": "string"}}
    responses = {"200": {"description": "yes", "content": {"text/plain": text | {"example": EXAMPLES[name]}}}}
    if name != "metrics":
        responses["503"] = {"description": "not now, and why", "content": {"text/plain": text}}
    return {"operationId": name, "summary": summary, "tags": ["Server"], "responses": responses}


def _both_paths(path: str, catalog: Catalog) -> Iterator[tuple[str, tuple[Any, ...], str]]:
    """A model's path, by default its newest version, and the path of one version; with parameters and a name's end."""
    model = _model_parameter(catalog)
    version = _path_parameter("version", {"type": "integer", "minimum": 1, "maximum": 999_999_999}, [1])
    yield path, (model,), ""
    yield f"{path}/versions/{{version}}", (model, version), "ByVersion"


def _alias_path(catalog: Catalog) -> tuple[str, tuple[Any, ...], str]:
    """The path of whichever version an alias stands for, with its parameters and a name's end."""
    alias = _path_parameter("alias", {"type": "string", "pattern": ALIAS_PATTERN}, ["stable"])
    return "/v1/models/{model}/aliases/{alias}", (_model_parameter(catalog), alias), "ByAlias"


def _model_parameter(catalog: Catalog) -> dict[str, Any]:
    names = sorted(catalog.entries, key=lambda name: -_input_pixels(catalog, name)) or ["cats-vs-dogs"]
    return _path_parameter("model", {"type": "string", "pattern": "^[a-z0-9-]+$"}, names)


def _input_pixels(catalog: Catalog, name: str) -> int:
    """Of the largest input of a model's versions, so that a model for photos is the first example."""
    inputs = (entry.card.input for entry in catalog.entries[name].values() if isinstance(entry, Classifier))
    return max((one.height * one.width for one in inputs), default=0)


def _path_parameter(name: str, schema: Any, examples: Sequence[Any]) -> dict[str, Any]:
    shown = {str(example): {"value": example} for example in examples}
    return {"name": name, "in": "path", "required": True, "schema": schema, "examples": shown}


def _operation(
    name: str,
    summary: str,
    tag: str,
    schema: str,
    parameters: Sequence[Any],
    faults: Sequence[type[SightlineError]],
    bodies: Any = None,
) -> dict[str, Any]:
    """An operation; its name is unique, and begins with that of its example."""
    example = EXAMPLES[re.sub(r"By(Version|Alias)$", "", name)]
    content = {JSON: {"schema": schemas.ref(schema), "example": example}}
    good = {"description": "the answer", "headers": schemas.HEADERS, "content": content}
    responses = {"200": good} | _refusals((*ALWAYS, *faults), v2=tag == _OIP)
    about = {"operationId": name, "summary": summary, "tags": [tag], "parameters": list(parameters)}
    body = {"requestBody": {"required": True, "content": bodies}} if bodies else {}
    return about | body | {"responses": responses}


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


def _about() -> str:
    """What the document says before its routes, as Markdown."""
    rows = [f"| {row.what} | {row.default} | {row.setting} | {row.status} {row.code} |" for row in limits.describe()]
    head = ["| limit | default | setting | beyond it |", "| --- | --- | --- | --- |"]
    return "\n".join([_KEYS, "", "## Limits", "", *head, *rows])
