"""Rows of probabilities to the body of an `infer` response."""

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
from service.api.oip.protocol import LENGTH_HEADER, OUTPUT, Answer


def response(card: Card, rows: Sequence[Probabilities], answer: Answer, accepted_encoding: str) -> Response:
    """What was asked for, one row per image in their order."""
    output, raw = _classes(card, rows, answer) if answer.classification else _probabilities(rows, answer)
    content: dict[str, Any] = {"model_name": card.name, "model_version": str(card.version), "outputs": [output]}
    if answer.id is not None:
        content["id"] = answer.id
    head = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    body, headers = fold(head + raw, accepted_encoding)
    if not answer.binary:
        return Response(body, headers=headers, media_type="application/json")
    return Response(body, headers=headers | {LENGTH_HEADER: str(len(head))}, media_type="application/octet-stream")


def _probabilities(rows: Sequence[Probabilities], answer: Answer) -> tuple[dict[str, Any], bytes]:
    probabilities = np.stack(rows)
    if answer.binary:
        return _output("FP32", probabilities.shape, raw := probabilities.astype("<f4").tobytes()), raw
    return _output("FP32", probabilities.shape, None) | {"data": probabilities.ravel()}, b""


def _classes(card: Card, rows: Sequence[Probabilities], answer: Answer) -> tuple[dict[str, Any], bytes]:
    """The best k of every image, as Triton's classification extension has them."""
    columns = {label: column for column, label in enumerate(card.labels)}
    best = [rank(row, card.labels, answer.classification) for row in rows]
    texts = [f"{value:f}:{columns[label]}:{label}" for predictions in best for label, value in predictions]
    shape = (len(rows), len(texts) // len(rows))
    if answer.binary:
        encoded = [text.encode() for text in texts]
        raw = b"".join(struct.pack("<I", len(element)) + element for element in encoded)
        return _output("BYTES", shape, raw), raw
    return _output("BYTES", shape, None) | {"data": texts}, b""


def _output(datatype: str, shape: tuple[int, ...], raw: bytes | None) -> dict[str, Any]:
    about = {"name": OUTPUT, "datatype": datatype, "shape": list(shape)}
    return about if raw is None else about | {"parameters": {"binary_data_size": len(raw)}}
