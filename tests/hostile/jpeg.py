"""Hostile JPEGs: segments, filling and scans without end."""

from __future__ import annotations

import struct
from functools import cache, partial

from PIL import Image

from tests import pictures
from tests.hostile.hostile import COMPLEX, DAMAGED, LARGE, OK, SLOW, single, sized

_JFIF_ENDS = 20  # of what Pillow writes first
_SOS, _EOI = b"\xff\xda", b"\xff\xd9"


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _before_the_rest(addition: bytes, picture: bytes | None = None) -> bytes:
    body = picture or pictures.jpeg()
    return body[:_JFIF_ENDS] + addition + body[_JFIF_ENDS:]


def _segments(marker: int, content: bytes, size: int) -> bytes:
    one = segment(marker, content)
    return _before_the_rest(one * max(1, size // len(one)))


def _filling(size: int, byte: bytes = b"\xff") -> bytes:
    return _before_the_rest((byte * size)[:size])  # no body is larger than a server takes


@cache
def progressive(width: int, height: int) -> bytes:
    """A progressive JPEG of noise that is the same in each 64x64, without its end."""
    tile = Image.fromarray(pictures.noise(64, 64))
    image = Image.new("RGB", (width, height))
    image.paste(tile, (0, 0))
    return pictures.encoded(image, "JPEG", progressive=True, quality=50).removesuffix(_EOI)


def _scans(width: int, height: int, scan: bytes, size: int) -> bytes:
    begun = progressive(width, height)
    return begun + scan * max(1, (size - len(begun)) // len(scan)) + _EOI


# A scan over one band of coefficients of one component, of which nothing follows: libjpeg visits each block.
EMPTY_SCAN = segment(0xDA, b"\x01\x01\x00\x01\x3f\x10")
EMPTY_FIRST_SCAN = segment(0xDA, b"\x03\x01\x00\x02\x11\x03\x11\x00\x00\x10")
# The same with a table whose only code is a run of 32,767 blocks that do not change, three hundred times.
_RUNS = segment(0xC4, b"\x10" + b"\x01" + bytes(15) + b"\xe0") + segment(0xDA, b"\x01\x01\x00\x01\x3f\x10") + bytes(300)


def _claiming(width: int, height: int) -> bytes:
    return pictures.claiming("JPEG", width, height)


def _exif_of_many_entries(size: int) -> bytes:
    entries = min(5_000, max(1, size // 12))
    directory = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", entries)
    directory += b"".join(struct.pack("<HHII", 0x9000 + n % 5_000, 5, 8_000, 0) for n in range(entries))
    return _before_the_rest(segment(0xE1, directory[:65_000]))


def _one_scan_for_each_component(size: int) -> bytes:
    """Baseline, not interleaved, with many more scans than components."""
    body = pictures.jpeg()
    at = body.index(_SOS)
    scan = segment(0xDA, b"\x01\x01\x00\x00\x3f\x00")
    return body[:at] + scan * (size // len(scan)) + _EOI


def _restarts(size: int) -> bytes:
    body = pictures.jpeg()
    at = body.index(_SOS)
    return body[: at + 14] + b"".join(bytes((0xFF, 0xD0 + n % 8)) for n in range(size // 2)) + _EOI


def _arithmetic(size: int) -> bytes:
    body = pictures.jpeg()
    return body.replace(b"\xff\xc0", b"\xff\xc9", 1) + bytes(size)


_READ = (OK, COMPLEX)
_ANY = (OK, COMPLEX, DAMAGED)

MAKERS = (
    sized("jpeg-app-segments", partial(_segments, 0xE5, b""), _READ),
    sized("jpeg-empty-exif-segments", partial(_segments, 0xE1, b"Exif\0\0"), _READ),
    sized("jpeg-full-exif-segments", partial(_segments, 0xE1, b"Exif\0\0" + bytes(65_000)), _READ),
    sized("jpeg-xmp-segments", partial(_segments, 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"<" * 65_000), _READ),
    sized("jpeg-profile-segments", partial(_segments, 0xE2, b"ICC_PROFILE\0\1\1" + bytes(100)), _READ),
    sized(
        "jpeg-photoshop-segments",
        partial(_segments, 0xED, b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0\0\0\0\0" * 99),
        _READ,
    ),
    sized(
        "jpeg-full-photoshop-segments",
        partial(_segments, 0xED, b"Photoshop 3.0\0" + b"8BIM\4\4\0\0\0\0\0\0" * 5_400),
        (*_READ, SLOW),
    ),
    sized(
        "jpeg-full-quantization-segments",
        partial(_segments, 0xDB, (b"\3" + bytes(range(1, 65))) * 1_000),
        (*_READ, SLOW),
    ),
    sized("jpeg-mpf-segments", partial(_segments, 0xE2, b"MPF\0II*\0\x08\0\0\0" + bytes(50)), _READ),
    sized("jpeg-comments", partial(_segments, 0xFE, b"c" * 60), _READ),
    sized("jpeg-quantization-tables", partial(_segments, 0xDB, b"\3" + bytes(range(1, 65))), _READ),
    sized("jpeg-huffman-tables", partial(_segments, 0xC4, b"\3" + b"\1" + bytes(16)), _ANY),
    sized("jpeg-restart-intervals", partial(_segments, 0xDD, b"\0\0"), _READ),
    sized("jpeg-frames", partial(_segments, 0xC0, b"\x08\0\x08\0\x08\1\1\x11\0"), _ANY),
    sized("jpeg-filling", _filling, _READ),
    sized("jpeg-junk", partial(_filling, byte=b"j"), _ANY),
    sized("jpeg-bare-markers", partial(_filling, byte=b"\xff\xd0"), _ANY),
    sized("jpeg-escaped-bytes", partial(_filling, byte=b"\xff\0"), _ANY),
    sized("jpeg-exif-entries", _exif_of_many_entries, _READ),
    sized("jpeg-empty-scans-25-megapixels", partial(_scans, 5_000, 5_000, EMPTY_SCAN), (*_ANY, SLOW)),
    sized("jpeg-empty-scans-of-all-25-megapixels", partial(_scans, 5_000, 5_000, EMPTY_FIRST_SCAN), (*_ANY, SLOW)),
    sized("jpeg-empty-scans-1-megapixel", partial(_scans, 1_000, 1_000, EMPTY_SCAN), _ANY),
    sized("jpeg-runs-25-megapixels", partial(_scans, 5_000, 5_000, _RUNS), (*_ANY, SLOW)),
    sized("jpeg-runs-in-a-thumbnail", partial(_scans, 64, 64, _RUNS), _ANY),
    sized("jpeg-scans-of-a-component", _one_scan_for_each_component, _ANY),
    sized("jpeg-restarts", _restarts, _ANY),
    sized("jpeg-arithmetic", _arithmetic, _ANY),
    single(
        "jpeg-99-scans-of-49-megapixels",
        lambda: _scans(7_000, 7_000, _RUNS, len(progressive(7_000, 7_000)) + 90 * len(_RUNS)),
        (OK, SLOW),
    ),
    single("jpeg-claims-gigapixels", partial(_claiming, 65_500, 65_500), (LARGE,)),
    single("jpeg-claims-a-line", partial(_claiming, 65_500, 700), (OK, DAMAGED)),
    single("jpeg-claims-nothing", partial(_claiming, 0, 0), (DAMAGED,)),
)
