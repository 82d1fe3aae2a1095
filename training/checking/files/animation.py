"""Whether a file holds more than one picture, known by its structure without decoding any."""

from __future__ import annotations

_GIF_EXTENSION, _GIF_PICTURE = 0x21, 0x2C


def holds_several(kind: str, body: bytes) -> bool:
    """Whether a file of this kind ("GIF", "WEBP" …) has further frames or pages behind its first picture."""
    if kind == "GIF":
        return _gif_pictures(body) > 1
    if kind == "WEBP":
        return body[12:16] == b"VP8X" and bool(body[20] & 0x02)
    if kind == "PNG":
        return _png_is_animated(body)
    if kind == "AVIF":
        return b"avis" in body[8:64]
    if kind == "TIFF":
        return _tiff_has_pages(body)
    return False


def _gif_pictures(body: bytes) -> int:
    """How many pictures there are, up to two."""
    found, at = 0, 13 + _palette(body[10])
    try:
        while found < 2 and body[at] in (_GIF_EXTENSION, _GIF_PICTURE):
            if body[at] == _GIF_PICTURE:
                found += 1
                at += 11 + _palette(body[at + 9])
            else:
                at += 2
            while size := body[at]:
                at += 1 + size
            at += 1
    except IndexError:  # cut short, of which the decoder may say more
        pass
    return found


def _palette(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _png_is_animated(body: bytes) -> bool:
    """Whether the chunk that announces an animation stands before the pixels."""
    at = 8
    while at + 8 <= len(body):
        length, name = int.from_bytes(body[at : at + 4], "big"), body[at + 4 : at + 8]
        if name in (b"acTL", b"IDAT"):
            return name == b"acTL"
        at += 12 + length
    return False


def _tiff_has_pages(body: bytes) -> bool:
    order = "little" if body[:2] == b"II" else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(body[at : at + size], order)  # type: ignore[arg-type]

    directory = number(4, 4)
    return number(directory + 2 + 12 * number(directory, 2), 4) != 0
