"""Hostile BMPs: run lengths that lie, and palettes."""

from __future__ import annotations

import struct
from functools import partial

from tests.hostile.hostile import COMPLEX, DAMAGED, LARGE, OK, SLOW, single, sized

_RLE8, _RLE4 = 1, 2


def _bmp(width: int, height: int, bits: int, compression: int, rows: bytes, colours: int = 256) -> bytes:
    palette = bytes(range(256)) * 4 * -(-colours // 256)
    palette = palette[: 4 * colours]
    offset = 54 + len(palette)
    head = struct.pack("<IHHI", offset + len(rows), 0, 0, offset)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(rows), 0, 0, colours, 0)
    return b"BM" + head + info + palette + rows


def _runs(one: bytes, width: int, height: int, compression: int, size: int) -> bytes:
    return _bmp(width, height, 8 if compression == _RLE8 else 4, compression, one * max(1, size // len(one)))


_RUNS = (OK, COMPLEX, DAMAGED, SLOW)

MAKERS = (
    single("bmp-one-end-of-line", lambda: _bmp(50_000_000, 1, 8, _RLE8, b"\0\0"), (LARGE,)),
    single("bmp-one-end-of-line-in-a-million", lambda: _bmp(1_000_000, 1, 8, _RLE8, b"\0\0"), (DAMAGED,)),
    single("bmp-ten-megapixels-of-nothing", lambda: _bmp(10_000, 1_000, 8, _RLE8, b"\0\0" * 90_000), (COMPLEX,)),
    sized("bmp-ends-of-line", partial(_runs, b"\0\0", 2_000, 2_000, _RLE8), _RUNS),
    sized("bmp-deltas", partial(_runs, b"\0\2\1\0", 2_000, 2_000, _RLE8), _RUNS),
    sized("bmp-deltas-of-nothing", partial(_runs, b"\0\2\0\0", 200, 200, _RLE8), _RUNS),
    sized("bmp-runs-beyond-the-row", partial(_runs, b"\xff\1", 100, 100, _RLE8), _RUNS),
    sized("bmp-runs-of-one", partial(_runs, b"\1\1", 1_900, 1_900, _RLE8), _RUNS),
    sized("bmp-runs-of-one-of-4-bits", partial(_runs, b"\1\1", 1_900, 1_900, _RLE4), _RUNS),
    sized("bmp-absolute-runs", partial(_runs, b"\0\4abcd", 1_900, 1_900, _RLE8), _RUNS),
    sized("bmp-absolute-runs-of-4-bits", partial(_runs, b"\0\xff" + bytes(128), 1_900, 1_900, _RLE4), _RUNS),
    single("bmp-a-palette-of-65536", lambda: _bmp(50, 50, 8, 0, bytes(2_600), colours=65_536), (OK, DAMAGED)),
    single("bmp-tall", lambda: _bmp(1, 1_000_000, 1, 0, bytes(4_000_000), colours=2), (OK,)),
    single("bmp-gigapixels", lambda: _bmp(60_000, 60_000, 24, 0, bytes(100), colours=0), (LARGE,)),
)
