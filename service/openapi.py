"""The OpenAPI document, from what the code itself knows: routes, errors, limits, models. And the page made from it."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from classifier.errors import (
    ImageTooLarge,
    NotAnImage,
    OutOfMemory,
    SightlineError,
    UndecodableImage,
    UnknownModel,
)
from service import errors, limits
from service.answers import JSON, PROBLEM_JSON, json_response
from service.catalog import Catalog
from service.errors import problem

# A picture of one pixel, so that every example can be sent as it stands.
PIXEL_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4//8/AAX+Av4zEpUUAAAAAElFTkSuQmCC"
)

_BASE64 = base64.b64encode(PIXEL_PNG).decode()

# What every route may answer, what every route that reads a body may, and what every route of a model may.
ALWAYS: tuple[type[SightlineError], ...] = (
    *(errors.Unauthorized, errors.HeadTooLarge, errors.TooManyConnections, errors.Overloaded),
)
WITH_BODY = (
    *(errors.MalformedRequest, errors.UploadTooSlow, errors.BodyTooLarge, errors.UnsupportedMediaType),
    *(errors.TooManyBytes, errors.Closing, errors.DeadlinePassed, errors.CallerGone),
)
OF_MODEL = (errors.MalformedRequest, UnknownModel, errors.NotReady)
OF_IMAGE = (NotAnImage, UndecodableImage, ImageTooLarge)
OF_WORK = (errors.QueueFull, errors.NotServed, errors.BrokenForward, OutOfMemory)

_PROBABILITY = {"type": "number", "minimum": 0, "maximum": 1}
_SCHEMAS: dict[str, Any] = {
    "Prediction": {
        "type": "object",
        "required": ["label", "probability"],
        "properties": {"label": {"type": "string"}, "probability": _PROBABILITY},
    },
    "Predictions": {
        "type": "object",
        "required": ["model", "version", "predictions"],
        "properties": {
            "model": {"type": "string"},
            "version": {"type": "integer", "minimum": 1},
            "predictions": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Prediction"}},
        },
    },
    "Results": {
        "type": "object",
        "required": ["model", "version", "results"],
        "properties": {
            "model": {"type": "string"},
            "version": {"type": "integer", "minimum": 1},
            "results": {
                "type": "array",
                "items": {
                    "oneOf": [
                        {
                            "type": "object",
                            "required": ["predictions"],
                            "properties": {
                                "predictions": {"type": "array", "items": {"$ref": "#/components/schemas/Prediction"}}
                            },
                        },
                        {
                            "type": "object",
                            "required": ["error"],
                            "properties": {"error": {"$ref": "#/components/schemas/Problem"}},
                        },
                    ]
                },
            },
        },
    },
    "Problem": {
        "type": "object",
        "description": "RFC 9457, with a stable code",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "code": {"type": "string"},
        },
    },
    "ProtocolError": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string"}},
    },
    "Models": {
        "type": "object",
        "required": ["models", "ready"],
        "properties": {
            "ready": {"type": "boolean"},
            "models": {"type": "array", "items": {"$ref": "#/components/schemas/ModelState"}},
        },
    },
    "ModelState": {
        "type": "object",
        "required": ["model", "version", "versions", "ready"],
        "properties": {
            "model": {"type": "string"},
            "version": {"type": "integer"},
            "versions": {"type": "array", "items": {"type": "integer"}},
            "ready": {"type": "boolean"},
            "reason": {"type": "string", "description": "why it does not answer"},
            "labels": {"type": "array", "items": {"type": "string"}},
        },
    },
    "Explanation": {
        "type": "object",
        "required": ["model", "version", "label", "probability", "heat"],
        "properties": {
            "model": {"type": "string"},
            "version": {"type": "integer"},
            "label": {"type": "string"},
            "probability": _PROBABILITY,
            "heat": {"type": "array", "items": {"type": "array", "items": _PROBABILITY}},
        },
    },
    "InferRequest": {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "inputs": {
                "type": "array",
                "minItems": 1,
                "maxItems": 1,
                "items": {
                    "type": "object",
                    "required": ["name", "shape", "datatype", "data"],
                    "properties": {
                        "name": {"const": "image"},
                        "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}},
                        "datatype": {"enum": ["UINT8", "FP32", "BYTES"]},
                        "data": {"type": "array"},
                        "parameters": {"type": "object"},
                    },
                },
            },
        },
    },
    "Any": {},
}

_INFER = {
    "inputs": [
        {
            "name": "image",
            "shape": [1],
            "datatype": "BYTES",
            "parameters": {"content_type": "base64"},
            "data": [_BASE64],
        }
    ]
}

_IMAGE_BODIES: dict[str, Any] = {
    "application/octet-stream": {
        "schema": {"type": "string", "format": "binary", "description": "the file itself, whatever its format"},
    },
    "image/*": {"schema": {"type": "string", "format": "binary"}},
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["image"],
            "properties": {"image": {"type": "string", "format": "binary"}},
            "additionalProperties": False,
        },
    },
    JSON: {
        "schema": {
            "type": "object",
            "required": ["image"],
            "properties": {"image": {"type": "string", "contentEncoding": "base64"}},
            "additionalProperties": False,
        },
        "examples": {"the file in base64": {"value": {"image": _BASE64}}},
    },
}
_IMAGES_BODY = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["images"],
            "properties": {"images": {"type": "array", "items": {"type": "string", "format": "binary"}}},
            "additionalProperties": False,
        },
    }
}
_INFER_BODY = {
    JSON: {
        "schema": {"$ref": "#/components/schemas/InferRequest"},
        "examples": {"an image in base64": {"value": _INFER}},
    },
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
}


_INDEX_BODY = {JSON: {"schema": {"type": "object", "properties": {"ready": {"type": "boolean"}}}}}


async def answer(request: Request) -> Response:
    """GET /openapi.json"""
    return json_response(document(request.app.state.catalog))


async def page(request: Request) -> Response:
    """GET /docs: the document as plain HTML, without a script and without a request to anywhere."""
    headers = {"content-security-policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'"}
    return Response(_html(document(request.app.state.catalog)), headers=headers, media_type="text/html")


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
            "schemas": _SCHEMAS,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _paths(catalog: Catalog) -> dict[str, Any]:
    most = catalog.settings.max_images
    paths: dict[str, Any] = {}
    paths["/v1/models"] = {"get": _operation("What is served", "Models", (), ())}
    for at, parameters in _places("/v1/models/{model}", catalog):
        paths[at] = {"get": _operation("Labels, input, accuracy, engine", "ModelState", parameters, OF_MODEL)}
        for name, text, schema, query, bodies in (
            ("predict", "Classify one image", "Predictions", _TOP_K, _IMAGE_BODIES),
            ("predict-batch", f"Classify up to {most} images, each on its own", "Results", _TOP_K, _IMAGES_BODY),
            ("explain", "What a decision rests on", "Explanation", _LABEL, _IMAGE_BODIES),
        ):
            faults = (*OF_MODEL, *WITH_BODY, *(() if name == "predict-batch" else OF_IMAGE), *OF_WORK)
            operation = _operation(text, schema, (*parameters, query, _TIMEOUT), faults, bodies)
            if name == "explain":
                operation["responses"]["200"]["content"]["image/png"] = {"schema": {}}
            paths[f"{at}/{name}"] = {"post": operation}
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
    index = _operation("Every version and its state", "Any", (), WITH_BODY, _INDEX_BODY, v2=True)
    paths["/v2/repository/index"] = {"post": index}
    for at, parameters in _places("/v2/models/{model}", catalog):
        paths[at] = {"get": _operation("Model metadata", "Any", parameters, (*OF_MODEL, *OF_WORK), v2=True)}
        for name in ("ready", "config", "stats"):
            about = _operation(f"The model's {name}", "Any", parameters, (*OF_MODEL, *OF_WORK), v2=True)
            paths[f"{at}/{name}"] = {"get": about}
        faults = (*OF_MODEL, *WITH_BODY, *OF_IMAGE, *OF_WORK)
        infer = _operation("Run the network", "Any", (*parameters, _TIMEOUT), faults, _INFER_BODY, v2=True)
        infer["responses"]["200"]["content"]["application/octet-stream"] = {"schema": {}}
        paths[f"{at}/infer"] = {"post": infer}
    return paths


def _probe_paths() -> dict[str, Any]:
    text = {"text/plain": {"schema": {"type": "string"}}}
    paths = {
        "/livez": "Whether the server lives",
        "/readyz": "Whether every version has given its sample's answer; 503 also while the server shuts down",
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


_TOP_K = {
    "name": "top_k",
    "in": "query",
    "description": "how many labels, most probable first; all where it is not given",
    "schema": {"type": "integer", "minimum": 1},
}
_LABEL = {"name": "label", "in": "query", "description": "by default the most probable", "schema": {"type": "string"}}
_TIMEOUT = {
    "name": "X-Request-Timeout-Ms",
    "in": "header",
    "description": "after which the answer is no use; more than the server's maximum counts as that",
    "schema": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
}


def _places(path: str, catalog: Catalog) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """A model's path, by default its newest version, and the path of one version; with their parameters."""
    names = list(catalog.entries) or ["cats-vs-dogs"]
    model = _path_parameter("model", {"type": "string", "pattern": "^[a-z0-9-]+$"}, names)
    version = _path_parameter("version", {"type": "integer", "minimum": 1, "maximum": 999_999_999}, [1])
    yield path, (model,)
    yield f"{path}/versions/{{version}}", (model, version)


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
    good = {"description": "the answer", "content": {JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}
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
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}, "examples": examples}
    types = {PROBLEM_JSON, JSON} if v2 else {media_type}  # the connection itself answers with problems everywhere
    return {
        "description": "; ".join(p["title"] for p in problems),
        "content": dict.fromkeys(sorted(types), content),
    }


def _about_limits() -> str:
    rows = [f"- {row.what}: {row.default} ({row.setting}), then {row.status} {row.code}" for row in limits.describe()]
    return "\n".join(["Limits, with their defaults:", "", *rows])


def _html(content: dict[str, Any]) -> str:
    sections = [
        f"<section><h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['summary'])}</p>"
        f"{_html_parameters(operation)}{_html_bodies(operation)}{_html_responses(operation)}</section>"
        for path, operations in content["paths"].items()
        for method, operation in operations.items()
    ]
    rows = "".join(
        f"<tr><td>{escape(r.what)}<td>{escape(r.setting)}<td>{escape(r.default)}<td>{r.status} {escape(r.code)}"
        for r in limits.describe()
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        '<title>Sightline: the API</title><link rel="stylesheet" href="web/page.css"><main><h1>Sightline: the API</h1>'
        '<p>As a document: <a href="openapi.json">openapi.json</a>. To try it: <a href="./">the page</a>.</p>'
        f"<h2>Limits</h2><table><tr><th>what<th>setting<th>default<th>beyond it{rows}</table>{''.join(sections)}</main>"
    )


def _html_parameters(operation: dict[str, Any]) -> str:
    items = [
        f"<li><code>{escape(p['name'])}</code> ({p['in']}) {escape(p.get('description', ''))}"
        for p in operation.get("parameters", ())
    ]
    return f"<ul>{''.join(items)}</ul>" if items else ""


def _html_bodies(operation: dict[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    parts = [f"<li><code>{escape(kind)}</code>{_html_examples(body)}" for kind, body in content.items()]
    return f"<p>Body, one of:</p><ul>{''.join(parts)}</ul>" if parts else ""


def _html_responses(operation: dict[str, Any]) -> str:
    parts = []
    for status, response in operation["responses"].items():
        body: dict[str, Any] = next(iter(response["content"].values()), {}) if int(status) >= 400 else {}
        summary = f"<summary>{status} {escape(response['description'])}</summary>"
        parts.append(f"<details>{summary}{_html_examples(body)}</details>")
    return "".join(parts)


def _html_examples(body: dict[str, Any]) -> str:
    values = [example["value"] for example in body.get("examples", {}).values() if "value" in example]
    return "".join(f"<pre>{escape(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())}</pre>" for value in values)
