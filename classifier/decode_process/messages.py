"""What is said over the socket between a server and its decode processes: an order there, an answer back."""

from __future__ import annotations

import json
import struct
from typing import NamedTuple, Protocol

from classifier import errors

CPU_S = 1.9  # of a processor for one picture, 2 with what it takes to ask and answer. docs/tuning.md#decode-processes

# A picture of at most so many pixels and bytes is decoded in a fraction of this, and ended sooner.
SMALL_PIXELS, SMALL_BYTES = 250_000, 262_144
SMALL_CPU_S = 0.4

MEMORY_BYTES = 150_000_000  # for one picture, beyond its pixels
BYTES_PER_PIXEL = 16  # what decoding may need: the picture in up to 4 bytes, twice, and as much to change its colours

ORDER = struct.Struct("<II")  # bytes of the JSON and of the picture that follow
ANSWER = struct.Struct("<?I")  # whether there are pixels, and bytes of them, or of the JSON with the error

# What a decode process may answer with. Anything else it says is not believed.
ERRORS = {
    kind.code: kind
    for kind in (
        errors.NotAnImage,
        errors.UndecodableImage,
        errors.ImageTooLarge,
        errors.TooComplexImage,
        errors.TooMuchToDecode,
    )
}


class Spec(Protocol):
    """The parts of `InputSpec` that decoding needs."""

    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def resize(self) -> str: ...
    @property
    def contrast(self) -> str: ...
    @property
    def shape(self) -> tuple[int, int, int]: ...


class Order(NamedTuple):
    """A network's input, the most pixels of a picture for it, and the time of a processor that it gets."""

    height: int
    width: int
    channels: int
    resize: str
    contrast: str
    max_pixels: int
    cpu_s: float

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.height, self.width, self.channels


def order(spec: Spec, max_pixels: int, cpu_s: float) -> Order:
    return Order(spec.height, spec.width, spec.channels, spec.resize, spec.contrast, max_pixels, cpu_s)


def packed_order(what: Order, body: bytes) -> bytes:
    """All of an order but the picture itself, which follows it."""
    text = json.dumps(what).encode()
    return ORDER.pack(len(text), len(body)) + text


def read_order(text: bytes) -> Order:
    return Order(*json.loads(text))


def packed_error(error: errors.SightlineError) -> bytes:
    text = json.dumps([error.code, str(error)]).encode()
    return ANSWER.pack(False, len(text)) + text


def read_error(text: bytes | bytearray) -> errors.ImageError:
    code, message = json.loads(text)
    return ERRORS[code](message)
