"""Where the time of one classification went, for whoever asked: the Server-Timing header (W3C, Server Timing)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from classifier.engines import Probabilities


class Classified(NamedTuple):
    """The row of one image, float32 [classes], and the nanoseconds that each step took.

    `familiarity` is 0..1, None where the version has no such score.
    """

    row: Probabilities
    decode_ns: int
    queue_ns: int
    infer_ns: int
    familiarity: float | None = None


def server_timing(images: Sequence[Classified]) -> str:
    """The header's value in milliseconds; of several images the longest of each step, for they overlap."""
    # Mostly there is one, for which looking for the longest takes twice as long as all the rest.
    steps = images[0][1:4] if len(images) == 1 else [max(step) for step in list(zip(*images, strict=True))[1:4]]
    decode, queue, infer = steps
    return f"decode;dur={decode / 1e6:.3f}, queue;dur={queue / 1e6:.3f}, infer;dur={infer / 1e6:.3f}"
