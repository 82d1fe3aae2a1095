"""BMP: a header, a palette, and rows (Windows' BITMAPINFOHEADER and its relatives).

Pillow reads run-length encoded rows in Python, byte by byte. So a picture of that kind has to be of the size that its
bytes can hold.
"""

from __future__ import annotations

from classifier.formats.outline import Outline, damaged, sized, too_many

MOST_RLE_PIXELS = 4_000_000
MOST_RLE_BYTES = 1_000_000
_PIXELS_PER_RLE_BYTE = 128  # a run of 255 takes two bytes

_RLE8, _RLE4 = 1, 2
_CORE_HEADER = 12  # OS/2's, with sides of 16 bits and no compression


def outline(body: bytes) -> Outline:
    """The outline of a BMP. Raises UndecodableImage, TooComplexImage or ImageTooLarge."""
    header_bytes = int.from_bytes(body[14:18], "little")
    if len(body) < 14 + max(header_bytes, _CORE_HEADER):
        raise damaged("BMP", "its header is incomplete")
    if header_bytes == _CORE_HEADER:
        width, height = int.from_bytes(body[18:20], "little"), int.from_bytes(body[20:22], "little")
        return sized(Outline("BMP", width, height, body, may_turn=False))
    width, height = int.from_bytes(body[18:22], "little"), int.from_bytes(body[22:26], "little")
    if body[25:26] == b"\xff":  # rows from the top down
        height = 2**32 - height
    found = sized(Outline("BMP", width, height, body, may_turn=False))
    if int.from_bytes(body[30:34], "little") in (_RLE8, _RLE4):
        _check_runs(found, len(body) - 14 - header_bytes)
    return found


def _check_runs(found: Outline, most_bytes: int) -> None:
    if found.pixels > MOST_RLE_PIXELS:
        raise too_many("BMP", MOST_RLE_PIXELS, "run-length encoded pixels")
    if most_bytes > MOST_RLE_BYTES:
        raise too_many("BMP", MOST_RLE_BYTES, "bytes of run-length encoded pixels")
    if found.pixels > most_bytes * _PIXELS_PER_RLE_BYTE:
        raise damaged(
            "BMP", f"{most_bytes:,} bytes cannot hold {found.width} x {found.height} run-length encoded pixels"
        )
