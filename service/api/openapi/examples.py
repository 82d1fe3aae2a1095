"""What each operation answers, as an example, by the name of the operation."""

from __future__ import annotations

from typing import Any

_PROBLEM = {
    "type": "urn:sightline:problem:not-an-image",
    "title": "Not an image we read",
    "status": 415,
    "detail": "expected a JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF image, got 14 bytes beginning 68 65 6c 6c 6f",
    "code": "not-an-image",
}
_CAT = {
    "predictions": [{"label": "cat", "probability": 0.98}, {"label": "dog", "probability": 0.02}],
    "familiar": True,
    "familiarity": 0.34,
}
_HEAD = {"model": "cats-vs-dogs", "version": 3}
_SUMMARY = _HEAD | {"versions": [1, 3], "ready": True}
_DURATION = {"count": 1, "ns": 1_000_000}
_PIXELS = {"name": "image", "datatype": "UINT8", "shape": [-1, 224, 224, 3]}
_PROBABILITIES = {"name": "probabilities", "datatype": "FP32"}
_FAMILIARITY = {"name": "familiarity", "datatype": "FP32"}

_STATISTICS = {
    "model_stats": [
        {
            "name": "cats-vs-dogs",
            "version": "3",
            "last_inference": 1_795_734_352_385,
            "inference_count": 1,
            "execution_count": 1,
            "inference_stats": {"success": _DURATION, "queue": _DURATION, "compute_infer": _DURATION},
            "batch_stats": [{"batch_size": 1, "compute_infer": _DURATION}],
            "memory_usage": [],
        }
    ]
}

EXAMPLES: dict[str, Any] = {
    "listModels": {"models": [_SUMMARY], "ready": True},
    "describeModel": _SUMMARY
    | {
        "states": [{"version": 1, "state": "ready"}, {"version": 3, "state": "ready"}],
        "aliases": {"stable": 3},
        "weights": {"3": 1.0},
        "recipe": "cats-vs-dogs-finetuned",
        "labels": ["cat", "dog"],
        "input": {"height": 224, "width": 224, "channels": 3, "resize": "bilinear", "contrast": "none"},
        "parameters": 3_414_305,
        "metrics": {"test": {"images": 2000, "loss": 0.031, "accuracy": 0.9875, "interval": [0.982, 0.992]}},
        "engine": "openvino",
        "precision": "int8",
        "device": "the name of the processor",
        "streams": 2,
        "max_batch": 2,
    },
    "predict": _HEAD | _CAT,
    "predictBatch": _HEAD | {"results": [_CAT, {"error": _PROBLEM}]},
    "explain": _HEAD | {"label": "cat", "probability": 0.98, "heat": [[0.0, 0.2], [0.1, 1.0]]},
    "describeServer": {
        "name": "sightline",
        "version": "0.1.0",
        "commit": "d9b26e47facf",
        "engine": "openvino",
        "started": "2026-11-26T23:05:50+00:00",
        "settings": {"queue_limit": 256, "max_body_bytes": 10_000_000, "max_images": 64},
    },
    "reload": {"loading": ["cats-vs-dogs@4"]},
    "oipServer": {
        "name": "sightline",
        "version": "0.1.0",
        "extensions": ["binary_tensor_data", "classification", "model_configuration", "statistics"],
    },
    "oipLive": {"live": True},
    "oipReady": {"ready": True},
    "oipModels": {"models": ["asl", "cats-vs-dogs", "cifar-10"]},
    "oipIndex": [{"name": "cats-vs-dogs", "version": "3", "state": "READY", "reason": ""}],
    "oipStatistics": _STATISTICS,
    "oipModelStatistics": _STATISTICS,
    "oipModel": {
        "name": "cats-vs-dogs",
        "versions": ["1", "3"],
        "platform": "openvino_onnx",
        "inputs": [_PIXELS],
        "outputs": [_PROBABILITIES | {"shape": [-1, 2]}, _FAMILIARITY | {"shape": [-1, 1]}],
        "properties": {"labels": '["cat","dog"]', "familiarity_threshold": "0.05"},
    },
    "oipModelReady": {"name": "cats-vs-dogs", "ready": True},
    "oipModelConfig": {
        "name": "cats-vs-dogs",
        "platform": "openvino_onnx",
        "backend": "openvino",
        "max_batch_size": 64,
        "input": [{"name": "image", "data_type": "TYPE_UINT8", "format": "FORMAT_NHWC", "dims": [224, 224, 3]}],
        "output": [{"name": "probabilities", "data_type": "TYPE_FP32", "dims": [2]}],
    },
    "oipInfer": {
        "model_name": "cats-vs-dogs",
        "model_version": "3",
        "outputs": [
            _PROBABILITIES | {"shape": [1, 2], "data": [0.98, 0.02]},
            _FAMILIARITY | {"shape": [1, 1], "data": [0.34], "parameters": {"threshold": 0.05}},
        ],
    },
    "live": "",
    "ready": "",
    "metrics": 'sightline_requests_total{model="cats-vs-dogs",version="3",status="200"} 1.0',
}
