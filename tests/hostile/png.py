"""Hostile PNGs: chunks without end, and small ones that unfold to much."""

from __future__ import annotations

import struct
import zlib
from functools import cache, partial

from tests import pictures
from tests.hostile.hostile import COMPLEX, DAMAGED, LARGE, MEMORY, OK, SLOW, single, sized

_AFTER_HEAD = 33


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@cache
def folded(size: int) -> bytes:
    return zlib.compress(bytes(size), 9)


def _head(width: int, height: int, bits: int = 8, colour: int = 2, interlace: int = 0) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace))


def _before_pixels(one: bytes, size: int) -> bytes:
    body = pictures.png()
    return body[:_AFTER_HEAD] + one * max(1, size // len(one)) + body[_AFTER_HEAD:]


def _after_pixels(one: bytes, size: int) -> bytes:
    body = pictures.png()
    end = body.index(b"IEND") - 4
    return body[:end] + one * max(1, size // len(one)) + body[end:]


def _one(kind: bytes, begin: bytes, size: int) -> bytes:
    return _before_pixels(chunk(kind, begin + b"a" * size), 1)


def _pixels_in_crumbs(size: int) -> bytes:
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in pictures.noise(256, 511)), 0)
    crumb = max(1, len(rows) * 13 // size)
    parts = (chunk(b"IDAT", rows[at : at + crumb]) for at in range(0, len(rows), crumb))
    return _head(511, 256) + b"".join(parts) + chunk(b"IEND")


def _empty_blocks(size: int) -> bytes:
    """Deflate blocks of no bytes, which take five each."""
    stream = b"\x78\x01" + b"\0\0\0\xff\xff" * (size // 5)
    return _head(50, 50) + chunk(b"IDAT", stream) + chunk(b"IEND")


def _of_black(width: int, height: int, bits: int, colour: int, interlace: int = 0) -> bytes:
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    row_bytes = 1 + (width * bits * samples + 7) // 8
    rows = folded(row_bytes * height + (width + height if interlace else 0) * 8)
    return _head(width, height, bits, colour, interlace) + chunk(b"IDAT", rows) + chunk(b"IEND")


def _animated(size: int) -> bytes:
    control = struct.pack(">IIIIIHHBB", 0, 60, 40, 0, 0, 1, 1, 0, 0)
    body = pictures.png()
    return (
        body[:_AFTER_HEAD]
        + chunk(b"acTL", bytes((0, 0, 0, 9, 0, 0, 0, 0)))
        + chunk(b"fcTL", control) * max(1, size // 38)
        + body[_AFTER_HEAD:]
    )


_READ = (OK, COMPLEX)
_ANY = (OK, COMPLEX, DAMAGED)
_TEXT, _PROFILE = folded(20_000_000), folded(900_000)

MAKERS = (
    sized("png-empty-chunks", partial(_before_pixels, chunk(b"prVt")), _READ),
    sized("png-empty-chunks-after-pixels", partial(_after_pixels, chunk(b"prVt")), _READ),
    sized("png-empty-pixel-chunks", partial(_before_pixels, chunk(b"IDAT")), _ANY),
    sized("png-empty-texts", partial(_before_pixels, chunk(b"tEXt", b"a\0b")), _READ),
    sized("png-profiles", partial(_before_pixels, chunk(b"iCCP", b"a\0\0" + _PROFILE)), _READ),
    sized("png-folded-texts", partial(_before_pixels, chunk(b"zTXt", b"a\0\0" + _PROFILE)), _READ),
    sized("png-folded-texts-after-pixels", partial(_after_pixels, chunk(b"zTXt", b"a\0\0" + _PROFILE)), _READ),
    sized("png-international-texts", partial(_before_pixels, chunk(b"iTXt", b"a\0\1\0\0\0" + _PROFILE)), _READ),
    sized("png-xmp", partial(_before_pixels, chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + _PROFILE)), _READ),
    sized("png-exif", partial(_before_pixels, chunk(b"eXIf", b"II*\0" + bytes(60))), _READ),
    sized("png-palettes", partial(_before_pixels, chunk(b"PLTE", bytes(768))), _READ),
    sized("png-transparencies", partial(_before_pixels, chunk(b"tRNS", bytes(6))), _READ),
    sized("png-heads", partial(_before_pixels, chunk(b"IHDR", bytes(13))), _ANY),
    sized("png-one-text", partial(_one, b"tEXt", b"a\0"), _READ),
    sized("png-one-profile-in-full", partial(_one, b"iCCP", b"a\0\0"), _READ),
    sized("png-one-xmp", partial(_one, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0"), _READ),
    sized("png-one-exif", partial(_one, b"eXIf", b"II*\0\x08\0\0\0\xff\xff"), _READ),
    sized("png-animation", _animated, _READ),
    sized("png-pixels-in-crumbs", _pixels_in_crumbs, _READ),
    sized("png-empty-blocks", _empty_blocks, (DAMAGED,)),
    single("png-text-bomb", lambda: _before_pixels(chunk(b"zTXt", b"a\0\0" + _TEXT), 1), (OK,)),
    single("png-profile-bomb", lambda: _before_pixels(chunk(b"iCCP", b"a\0\0" + _TEXT), 1), (OK,)),
    single("png-xmp-bomb", lambda: _before_pixels(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + _TEXT), 1), (OK,)),
    single("png-more-rows-than-announced", lambda: _head(50, 50) + chunk(b"IDAT", _TEXT) + chunk(b"IEND"), (OK,)),
    single("png-6-megapixels", partial(_of_black, 2_500, 2_500, 16, 6), (OK,)),
    single("png-49-megapixels", partial(_of_black, 7_000, 7_000, 16, 6), (OK, SLOW)),
    single("png-49-megapixels-interlaced", partial(_of_black, 7_000, 7_000, 8, 6, 1), (OK, SLOW, DAMAGED)),
    single("png-one-column", partial(_of_black, 1, 1_000_000, 1, 0), (OK,)),
    single("png-one-column-interlaced", partial(_of_black, 1, 1_000_000, 1, 0, 1), (OK,)),
    single("png-fifty-columns", partial(_of_black, 49, 1_000_000, 1, 0), (OK, SLOW, MEMORY)),
    single("png-longer-column", partial(_of_black, 1, 50_000_000, 1, 0), (LARGE,)),
    single("png-gigapixels", partial(_head, 65_000, 65_000), (LARGE,)),
)
