"""What the server and its models say of themselves, in the protocol's words and in Triton's."""

from __future__ import annotations

from typing import Any

import orjson

from classifier.card import Card
from service.api.oip.protocol import FAMILIARITY, INPUT, OUTPUT
from service.client.version import VERSION
from service.inference.catalog import Catalog
from service.inference.classifier import Classifier
from service.inference.states import Broken, Entry
from service.settings import Settings

# Those of Triton's that are kept whole: `priority` does nothing here, and nobody loads or unloads models by HTTP.
EXTENSIONS = ("binary_tensor_data", "classification", "model_configuration", "statistics")

_FORMAT = {"openvino": "onnx", "tensorflow": "keras", "jax": "keras"}  # the file of a version that the engine runs


def server() -> dict[str, Any]:
    return {"name": "sightline", "version": VERSION, "extensions": list(EXTENSIONS)}


def model(classifier: Classifier, versions: list[int]) -> dict[str, Any]:
    """Pixels stand as the input's type because the protocol has one type per input; `properties` say the others."""
    card = classifier.card
    return {
        "name": card.name,
        "versions": [str(version) for version in versions],
        "platform": _platform(classifier),
        "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": [-1, *card.input.shape]}],
        "outputs": [{"name": name, "datatype": "FP32", "shape": [-1, columns]} for name, columns in _outputs(card)],
        "properties": _properties(classifier),
    }


def config(classifier: Classifier, settings: Settings) -> dict[str, Any]:
    """The part of Triton's model configuration that its clients and tools look at."""
    card, engine = classifier.card, classifier.model.engine
    return {
        "name": card.name,
        "platform": _platform(classifier),
        "backend": engine.name,
        "version_policy": {"all": {}},
        "max_batch_size": settings.max_images,
        "input": [
            {"name": INPUT, "data_type": "TYPE_UINT8", "format": "FORMAT_NHWC", "dims": list(card.input.shape)},
        ],
        "output": [{"name": name, "data_type": "TYPE_FP32", "dims": [columns]} for name, columns in _outputs(card)],
        "instance_group": [{"name": engine.device, "kind": _kind(classifier), "count": engine.streams}],
        "dynamic_batching": {
            "preferred_batch_size": [classifier.max_batch],
            "max_queue_delay_microseconds": 0,
            "default_queue_policy": {
                "default_timeout_microseconds": round(settings.request_timeout_ms * 1000),
                "allow_timeout_override": True,
                "max_queue_size": settings.queue_limit,
            },
        },
        "parameters": {name: {"string_value": text} for name, text in _properties(classifier).items()},
    }


def statistics(classifiers: list[Classifier]) -> dict[str, Any]:
    entries = [one.statistics.as_json(one.card.name, one.card.version) for one in classifiers]
    return {"model_stats": entries}


def repository(catalog: Catalog, ready_only: bool) -> list[dict[str, str]]:
    """Every version there is with its state."""
    return [
        {"name": name, "version": str(version), "state": _state(entry), "reason": _reason(entry)}
        for name, version, entry in catalog.all()
        if isinstance(entry, Classifier) or not ready_only
    ]


def _outputs(card: Card) -> list[tuple[str, int]]:
    """The outputs and how many numbers each has for an image."""
    return [(OUTPUT, len(card.labels)), *([(FAMILIARITY, 1)] if card.familiarity is not None else [])]


def _platform(classifier: Classifier) -> str:
    engine = classifier.model.engine.name
    return f"{engine}_{_FORMAT[engine]}"


def _kind(classifier: Classifier) -> str:
    engine = classifier.model.engine
    return "KIND_CPU" if engine.name == "openvino" or engine.device == "CPU" else "KIND_GPU"


def _properties(classifier: Classifier) -> dict[str, str]:
    """What a caller needs of the card; the protocol has room for strings only."""
    card, engine = classifier.card, classifier.model.engine
    pixels = ", ".join(map(str, card.input.shape))
    accuracy = {f"accuracy.{split}": f"{metrics.accuracy:.4f}" for split, metrics in card.metrics.items()}
    return {
        "labels": orjson.dumps(card.labels).decode(),
        "input": (
            f"{INPUT}: UINT8 [n, {pixels}] pixels, or FP32 [n, {pixels}] in 0..255, rounded to whole numbers, or "
            "BYTES [n] or [n, 1], image files of any size"
        ),
        **({"familiarity_threshold": f"{card.familiarity.point.threshold:g}"} if card.familiarity else {}),
        "resize": card.input.resize,
        "contrast": card.input.contrast,
        "recipe": card.recipe,
        "article": card.article.title,
        "parameters": str(card.parameters),
        **accuracy,
        "engine": engine.name,
        "precision": engine.precision,
        "device": engine.device,
    }


def _state(entry: Entry) -> str:
    if isinstance(entry, Classifier):
        return "READY"
    return "UNAVAILABLE" if isinstance(entry, Broken) else "LOADING"


def _reason(entry: Entry) -> str:
    return entry.reason if isinstance(entry, Broken) else ""
