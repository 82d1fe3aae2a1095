"""Where the time of one classification went, for whoever asked: the Server-Timing header (W3C, Server Timing)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from starlette.responses import Response

from classifier.engines import Probabilities

HEADER = "server-timing"
_HEADER = HEADER.encode()


class Classified(NamedTuple):
    """The row of one image, float32 [classes], and the nanoseconds that each step took."""

    row: Probabilities
    decode_ns: int
    queue_ns: int
    infer_ns: int


def server_timing(images: Sequence[Classified]) -> str:
    """The header's value in milliseconds; of several images the longest of each step, for they overlap."""
    decode = max(image.decode_ns for image in images) / 1e6
    queue = max(image.queue_ns for image in images) / 1e6
    infer = max(image.infer_ns for image in images) / 1e6
    return f"decode;dur={decode:.3f}, queue;dur={queue:.3f}, infer;dur={infer:.3f}"


def timed(answer: Response, images: Sequence[Classified]) -> Response:
    """The answer with the header, if any image got as far."""
    if images:
        answer.raw_headers.append((_HEADER, server_timing(images).encode()))
    return answer
