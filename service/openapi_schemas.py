"""The forms that the OpenAPI document names: of answers, of bodies, of parameters."""

from __future__ import annotations

import base64
from typing import Any

from service.answers import JSON

# A picture of one pixel, so that every example can be sent as it stands.
PIXEL_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4//8/AAX+Av4zEpUUAAAAAElFTkSuQmCC"
)

_BASE64 = base64.b64encode(PIXEL_PNG).decode()

_PROBABILITY = {"type": "number", "minimum": 0, "maximum": 1}
SCHEMAS: dict[str, Any] = {
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

IMAGE_BODIES: dict[str, Any] = {
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
IMAGES_BODY = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["images"],
            "properties": {"images": {"type": "array", "items": {"type": "string", "format": "binary"}}},
            "additionalProperties": False,
        },
    }
}
INFER_BODY = {
    JSON: {
        "schema": {"$ref": "#/components/schemas/InferRequest"},
        "examples": {"an image in base64": {"value": _INFER}},
    },
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
}


INDEX_BODY = {JSON: {"schema": {"type": "object", "properties": {"ready": {"type": "boolean"}}}}}

TOP_K = {
    "name": "top_k",
    "in": "query",
    "description": "how many labels, most probable first; all where it is not given",
    "schema": {"type": "integer", "minimum": 1},
}
LABEL = {"name": "label", "in": "query", "description": "by default the most probable", "schema": {"type": "string"}}
TIMEOUT = {
    "name": "X-Request-Timeout-Ms",
    "in": "header",
    "description": "after which the answer is no use; more than the server's maximum counts as that",
    "schema": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
}
