"""What the network says of the images, to the body of an `infer` response."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from starlette.responses import Response

from classifier.card import Card
from classifier.engines import Probabilities
from classifier.ranking import rank
from service.api.oip.compression import fold
from service.api.oip.protocol import FAMILIARITY, LENGTH_HEADER, OUTPUT, Output
from service.inference.timing import Classified

_Tensor = tuple[dict[str, Any], bytes]  # what the JSON has of it, and the bytes that follow the JSON


def response(
    card: Card, images: Sequence[Classified], outputs: Sequence[Output], id_: str | None, accepted_encoding: str
) -> Response:
    """These outputs, one row per image in their order. `id_` is the caller's name of the request."""
    tensors = [_tensor(card, images, output) for output in outputs]
    content: dict[str, Any] = {"model_name": card.name, "model_version": str(card.version)}
    content["outputs"] = [about for about, _ in tensors]
    if id_ is not None:
        content["id"] = id_
    head = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    body, headers = fold(head + b"".join(raw for _, raw in tensors), accepted_encoding)
    if not any(output.binary for output in outputs):
        return Response(body, headers=headers, media_type="application/json")
    return Response(body, headers=headers | {LENGTH_HEADER: str(len(head))}, media_type="application/octet-stream")


def _tensor(card: Card, images: Sequence[Classified], output: Output) -> _Tensor:
    if output.name == FAMILIARITY:
        return _familiarity(card, images, output)
    rows = [image.row for image in images]
    return _classes(card, rows, output) if output.classification else _numbers(OUTPUT, np.stack(rows), output.binary)


def _familiarity(card: Card, images: Sequence[Classified], output: Output) -> _Tensor:
    """One number an image, 0..1; below the parameter `threshold` an image does not look familiar."""
    scores = np.array([[image.familiarity] for image in images], np.float32)
    about, raw = _numbers(FAMILIARITY, scores, output.binary)
    threshold = {"threshold": card.familiarity.point.threshold} if card.familiarity else {}
    return about | {"parameters": about.get("parameters", {}) | threshold}, raw


def _numbers(name: str, numbers: Probabilities, binary: bool) -> _Tensor:
    if binary:
        return _output(name, "FP32", numbers.shape, raw := numbers.astype("<f4").tobytes()), raw
    return _output(name, "FP32", numbers.shape, None) | {"data": numbers.ravel()}, b""


def _classes(card: Card, rows: Sequence[Probabilities], output: Output) -> _Tensor:
    """The best k of every image, as Triton's classification extension has them."""
    columns = {label: column for column, label in enumerate(card.labels)}
    best = [rank(row, card.labels, output.classification) for row in rows]
    texts = [f"{value:f}:{columns[label]}:{label}" for predictions in best for label, value in predictions]
    shape = (len(rows), len(texts) // len(rows))
    if output.binary:
        encoded = [text.encode() for text in texts]
        raw = b"".join(struct.pack("<I", len(element)) + element for element in encoded)
        return _output(OUTPUT, "BYTES", shape, raw), raw
    return _output(OUTPUT, "BYTES", shape, None) | {"data": texts}, b""


def _output(name: str, datatype: str, shape: tuple[int, ...], raw: bytes | None) -> dict[str, Any]:
    about = {"name": name, "datatype": datatype, "shape": list(shape)}
    return about if raw is None else about | {"parameters": {"binary_data_size": len(raw)}}
