"""WebP: chunks with a length each in a RIFF file (RFC 9649)."""

from __future__ import annotations

from classifier.formats.outline import Outline, damaged, sized, too_many

MOST_CHUNKS = 10_000  # an animation has one for each frame

_FIRST = 12


def outline(body: bytes) -> Outline:
    """The outline of a WebP. Raises UndecodableImage, TooComplexImage or ImageTooLarge."""
    if len(body) < 30:
        raise damaged("WEBP", "its header is incomplete")
    width, height = _canvas(body)
    at = _FIRST
    for _ in range(MOST_CHUNKS):
        if at + 8 > len(body):
            return sized(Outline("WEBP", width, height, body))
        size = int.from_bytes(body[at + 4 : at + 8], "little")
        at += 8 + size + (size & 1)
    raise too_many("WEBP", MOST_CHUNKS, "chunks")


def _canvas(body: bytes) -> tuple[int, int]:
    """Width and height from the first chunk, whichever of the three kinds it is (section 2)."""
    if body[12:16] == b"VP8X":
        return 1 + int.from_bytes(body[24:27], "little"), 1 + int.from_bytes(body[27:30], "little")
    if body[12:16] == b"VP8L":
        packed = int.from_bytes(body[21:25], "little")
        return 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    return int.from_bytes(body[26:28], "little") & 0x3FFF, int.from_bytes(body[28:30], "little") & 0x3FFF
