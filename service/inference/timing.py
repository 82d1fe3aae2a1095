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
    # Mostly there is one, for which looking for the longest takes twice as long as all the rest.
    steps = images[0][1:] if len(images) == 1 else [max(step) for step in list(zip(*images, strict=True))[1:]]
    decode, queue, infer = steps
    return f"decode;dur={decode / 1e6:.3f}, queue;dur={queue / 1e6:.3f}, infer;dur={infer / 1e6:.3f}"


def timed(answer: Response, images: Sequence[Classified]) -> Response:
    """The answer with the header, if any image got as far."""
    if images:
        answer.raw_headers.append((_HEADER, server_timing(images).encode()))
    return answer
