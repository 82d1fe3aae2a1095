"""GIF: blocks of sub-blocks of up to 255 bytes, of which those before the first picture are walked (GIF89a)."""

from __future__ import annotations

from classifier.formats.outline import Outline, damaged, sized, too_many

MOST_SUB_BLOCKS = 10_000  # before the first picture: 2.5 MB of comments

_EXTENSION, _PICTURE, _TRAILER = 0x21, 0x2C, 0x3B


def outline(body: bytes) -> Outline:
    """The outline of a GIF's first picture. Raises UndecodableImage, TooComplexImage or ImageTooLarge."""
    try:
        return sized(_outline(body))
    except IndexError:
        raise damaged("GIF", "it ends before its pixels begin") from None


def _outline(body: bytes) -> Outline:
    width, height = int.from_bytes(body[6:8], "little"), int.from_bytes(body[8:10], "little")
    at = _past_palette(13, body[10])
    left = MOST_SUB_BLOCKS
    while (block := body[at]) != _PICTURE:
        if block == _TRAILER:
            raise damaged("GIF", "it holds no picture")
        at += 2 if block == _EXTENSION else 1
        while block == _EXTENSION and (size := body[at]):
            at += 1 + size
            left -= 1
            if left < 0:
                raise too_many("GIF", MOST_SUB_BLOCKS, "blocks before its pixels")
        at += block == _EXTENSION
        left -= 1
        if left < 0:
            raise too_many("GIF", MOST_SUB_BLOCKS, "blocks before its pixels")
    left_top_width_height = [int.from_bytes(body[at + i : at + i + 2], "little") for i in (1, 3, 5, 7)]
    x, y, w, h = left_top_width_height
    body[at + 9]
    return Outline("GIF", max(width, x + w), max(height, y + h), body, may_turn=False)


def _past_palette(at: int, flags: int) -> int:
    return at + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
