"""The forms that the OpenAPI document names: of answers, of bodies, of parameters."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from service.api.responses import JSON

# A picture of one pixel, so that every example can be sent as it stands.
PIXEL_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4//8/AAX+Av4zEpUUAAAAAElFTkSuQmCC"
)

_BASE64 = base64.b64encode(PIXEL_PNG).decode()

_TEXT = {"type": "string"}
FILE = {"type": "string", "format": "binary"}
_PROBABILITY = {"type": "number", "minimum": 0, "maximum": 1}


def _object(*, optional: Sequence[str] = (), **properties: Any) -> dict[str, Any]:
    """The form of an object with these properties, all of them required but the optional ones."""
    return {
        "type": "object",
        "required": [name for name in properties if name not in optional],
        "properties": properties,
    }


def _body(**properties: Any) -> dict[str, Any]:
    """The form of a request's body, in which nothing else may be."""
    return {"schema": _object(**properties) | {"additionalProperties": False}}


def _list_of(items: Any, **bounds: int) -> dict[str, Any]:
    return {"type": "array", **bounds, "items": items}


def ref(schema: str) -> dict[str, str]:
    """What stands where a form of SCHEMAS is meant."""
    return {"$ref": f"#/components/schemas/{schema}"}


_VERSION: dict[str, Any] = {"model": _TEXT, "version": {"type": "integer", "minimum": 1}}  # which one has answered

# Beside the predictions of an image: of versions that have a familiarity, and where a coverage was asked for.
_BESIDE: dict[str, Any] = {
    "familiar": {"type": "boolean", "description": "whether the image looks like those the version was trained on"},
    "familiarity": _PROBABILITY
    | {"description": "the share of genuine images that look no more familiar; low where nothing like it was seen"},
    "prediction_set": _object(coverage=_PROBABILITY, labels=_list_of(_TEXT, minItems=1))
    | {"description": "the labels that together hold the right one at least that often"},
}

_TENSOR = _object(name=_TEXT, datatype=_TEXT, shape=_list_of({"type": "integer", "minimum": -1}))

SCHEMAS: dict[str, Any] = {
    "Prediction": _object(label=_TEXT, probability=_PROBABILITY),
    "Predictions": _object(
        **_VERSION, predictions=_list_of(ref("Prediction"), minItems=1), **_BESIDE, optional=tuple(_BESIDE)
    ),
    "Results": _object(
        **_VERSION,
        results=_list_of(
            {
                "oneOf": [
                    _object(predictions=_list_of(ref("Prediction")), **_BESIDE, optional=tuple(_BESIDE)),
                    _object(error=ref("Problem")),
                ]
            },
        ),
    ),
    "Problem": _object(type=_TEXT, title=_TEXT, status={"type": "integer"}, detail=_TEXT, code=_TEXT)
    | {"description": "RFC 9457, with a stable code"},
    "ProtocolError": _object(error=_TEXT),
    "Server": _object(
        name=_TEXT,
        version=_TEXT,
        commit=_TEXT,
        engine=_TEXT,
        started={"type": "string", "format": "date-time"},
        settings={"type": "object", "description": "without secrets and paths"},
    ),
    "Models": _object(models=_list_of(ref("ModelState")), ready={"type": "boolean"}),
    "ModelState": _object(
        model=_TEXT,
        version={"type": "integer"},
        versions=_list_of({"type": "integer"}),
        ready={"type": "boolean"},
        reason=_TEXT | {"description": "why it does not answer"},
        broken=_list_of(_object(version={"type": "integer"}, reason=_TEXT))
        | {"description": "versions on disk that could not be loaded"},
        states=_list_of(
            _object(
                version={"type": "integer"},
                state={"type": "string", "enum": ["loading", "ready", "broken", "retired"]},
                reason=_TEXT,
                optional=("reason",),
            )
        ),
        aliases={"type": "object", "additionalProperties": {"type": "integer"}},
        weights={"type": "object", "additionalProperties": _PROBABILITY}
        | {"description": "each version's share of the requests that name none"},
        canary_shut_off=_TEXT | {"description": "why the canary gets no more traffic"},
        labels=_list_of(_TEXT),
        optional=("reason", "broken", "labels", "states", "aliases", "weights", "canary_shut_off"),
    ),
    "Explanation": _object(
        model=_TEXT,
        version={"type": "integer"},
        label=_TEXT,
        probability=_PROBABILITY,
        heat=_list_of(_list_of(_PROBABILITY)),
    ),
    "InferRequest": _object(
        id=_TEXT,
        inputs=_list_of(
            _object(
                name={"type": "string", "const": "image"},
                shape=_list_of({"type": "integer", "minimum": 1}),
                datatype={"type": "string", "enum": ["UINT8", "FP32", "BYTES"]},
                data=_list_of({}),
                parameters={"type": "object"},
                optional=("parameters",),
            ),
            minItems=1,
            maxItems=1,
        ),
        optional=("id",),
    ),
    "InferResponse": _object(
        id=_TEXT,
        model_name=_TEXT,
        model_version=_TEXT,
        outputs=_list_of(
            _object(
                name=_TEXT,
                datatype=_TEXT,
                shape=_list_of({"type": "integer", "minimum": 0}),
                data=_list_of({}),
                parameters={"type": "object"},
                optional=("data", "parameters"),
            )
        ),
        optional=("id",),
    ),
    "OipServer": _object(name=_TEXT, version=_TEXT, extensions=_list_of(_TEXT)),
    "OipLive": _object(live={"type": "boolean"}),
    "OipReady": _object(ready={"type": "boolean"}),
    "OipModels": _object(models=_list_of(_TEXT)),
    "OipModel": _object(
        name=_TEXT,
        versions=_list_of(_TEXT),
        platform=_TEXT,
        inputs=_list_of(_TENSOR),
        outputs=_list_of(_TENSOR),
        properties={"type": "object", "additionalProperties": _TEXT},
        optional=("properties",),
    ),
    "OipModelReady": _object(name=_TEXT, ready={"type": "boolean"}),
    "OipIndex": _list_of(_object(name=_TEXT, version=_TEXT, state=_TEXT, reason=_TEXT)),
    "OipStatistics": _object(model_stats=_list_of({"type": "object"})),
    "Reload": _object(loading=_list_of(_TEXT | {"description": "MODEL@VERSION"})),
    "Any": {"type": "object"},
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

IMAGE_BODIES: dict[str, Any] = {
    "application/octet-stream": {"schema": FILE | {"description": "the file itself, whatever its format"}},
    "image/*": {"schema": FILE},
    "multipart/form-data": _body(image=FILE),
    JSON: _body(image={"type": "string", "contentEncoding": "base64"})
    | {"examples": {"the file in base64": {"value": {"image": _BASE64}}}},
}
IMAGES_BODY = {"multipart/form-data": _body(images=_list_of(FILE))}
INFER_BODY = {
    JSON: {"schema": ref("InferRequest"), "examples": {"an image in base64": {"value": _INFER}}},
    "application/octet-stream": {"schema": FILE},
}
INDEX_BODY = {JSON: {"schema": {"type": "object", "properties": {"ready": {"type": "boolean"}}}}}

TOP_K = {
    "name": "top_k",
    "in": "query",
    "description": "how many labels, most probable first; all where it is not given",
    "schema": {"type": "integer", "minimum": 1},
}
COVERAGE = {
    "name": "coverage",
    "in": "query",
    "description": "also give the labels that hold the right one at least that often; one of the card's, as 0.95",
    "schema": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
}
LABEL = {"name": "label", "in": "query", "description": "by default the most probable", "schema": _TEXT}
TIMEOUT = {
    "name": "X-Request-Timeout-Ms",
    "in": "header",
    "description": "after which the answer is no use; more than the server's maximum counts as that",
    "schema": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
}
KEY = {
    "name": "X-Sightline-Key",
    "in": "header",
    "description": "requests with the same key are answered by the same version while a canary takes a share of them",
    "schema": {"type": "string", "maxLength": 256},
}
HEADERS = {
    "X-Model-Version": {
        "description": "the version that has answered, where one has",
        "schema": {"type": "integer", "minimum": 1},
    }
}
