"""Hostile WebPs: chunks and frames without end, canvases that are never filled."""

from __future__ import annotations

import struct
from functools import partial

from PIL import Image

from tests import pictures
from tests.hostile.hostile import COMPLEX, DAMAGED, LARGE, MEMORY, OK, SLOW, single, sized


def _riff(content: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(content) + 4) + b"WEBP" + content


def _chunk(kind: bytes, content: bytes = b"") -> bytes:
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) & 1)


def _extended(flags: int, width: int, height: int) -> bytes:
    sides = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return _chunk(b"VP8X", struct.pack("<I", flags) + sides)


def _picture(lossless: bool = True, side: int = 16) -> bytes:
    return pictures.encoded(pictures.noise(side, side), "WEBP", lossless=lossless)[12:]


def _chunks(one: bytes, size: int) -> bytes:
    return _riff(_extended(0, 16, 16) + _picture() + one * max(1, size // len(one)))


def _chunks_first(one: bytes, size: int) -> bytes:
    return _riff(_extended(0x2C, 16, 16) + one * max(1, size // len(one)) + _picture())


def _frames(size: int) -> bytes:
    frame = _chunk(b"ANMF", bytes(6) + b"\x0f\0\0\x0f\0\0" + bytes(4) + _picture(side=16))
    return _riff(_extended(2, 16, 16) + _chunk(b"ANIM", bytes(6)) + frame * max(1, size // len(frame)))


def _noise(lossless: bool, size: int) -> bytes:
    body = bytearray(pictures.encoded(pictures.noise(600, 600), "WEBP", lossless=lossless))
    for at in range(200, len(body), 5_000):  # damaged here and there
        body[at] ^= 0x55
    return bytes(body[: max(size, 100)])


def _of_black(side: int) -> bytes:
    return pictures.encoded(Image.new("RGBA", (side, side), (1, 2, 3, 4)), "WEBP", method=0)


_READ = (OK, COMPLEX, DAMAGED)

MAKERS = (
    sized("webp-empty-chunks", partial(_chunks, _chunk(b"prVt")), _READ),
    sized("webp-empty-chunks-first", partial(_chunks_first, _chunk(b"prVt")), _READ),
    sized("webp-profiles", partial(_chunks_first, _chunk(b"ICCP", bytes(1_000))), _READ),
    sized("webp-xmp", partial(_chunks, _chunk(b"XMP ", bytes(90_000))), _READ),
    sized("webp-exif", partial(_chunks, _chunk(b"EXIF", b"II*\0\x08\0\0\0\xff\xff" + bytes(9_000))), _READ),
    sized("webp-frames", _frames, _READ),
    sized("webp-damaged-lossless", partial(_noise, True), (OK, DAMAGED)),
    sized("webp-damaged", partial(_noise, False), (OK, DAMAGED)),
    single("webp-swollen", lambda: pictures.claiming("WEBP", 7_000, 7_000), (DAMAGED, SLOW, MEMORY)),
    single("webp-swollen-lossless", lambda: pictures.claiming("WEBP-VP8L", 7_000, 7_000), (DAMAGED, SLOW, MEMORY)),
    single("webp-swollen-canvas", lambda: pictures.claiming("WEBP-VP8X", 7_000, 7_000), (OK, DAMAGED, SLOW, MEMORY)),
    single("webp-25-megapixels", partial(_of_black, 5_000), (OK, SLOW)),
    single("webp-49-megapixels", partial(_of_black, 7_000), (OK, SLOW)),
    single("webp-gigapixels", lambda: pictures.claiming("WEBP-VP8X", 16_000_000, 16_000_000), (LARGE,)),
)
