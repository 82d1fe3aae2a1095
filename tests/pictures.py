"""Encoded pictures for tests: every format and kind of pixel that is read, and damaged ones.

`scene` has four corners of four colours, so each of the eight EXIF orientations looks different.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_OPTIONS = {"JPEG": {"quality": 95}, "AVIF": {"quality": 95, "speed": 10}, "WEBP": {"lossless": True}}
ORIENTATIONS = tuple(range(1, 9))

RED, GREEN, BLUE, YELLOW = (230, 20, 10), (20, 200, 30), (10, 40, 220), (240, 220, 20)

_EXIF_ORIENTATION = 0x0112

# How an upright picture has to be stored for a reader that obeys this orientation to see it upright.
_STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def scene(height: int = 40, width: int = 60) -> Pixels:
    """uint8 [height, width, 3]: red, green over blue, yellow."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2], pixels[: height // 2, width // 2 :] = RED, GREEN
    pixels[height // 2 :, : width // 2], pixels[height // 2 :, width // 2 :] = BLUE, YELLOW
    return pixels


def noise(height: int = 16, width: int = 24, channels: int = 3, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def encoded(picture: Pixels | Image.Image, format: str = "PNG", **options: Any) -> bytes:  # noqa: A002 (Pillow's word)
    """One picture in one format, by Pillow; WebP without loss, JPEG and AVIF at quality 95 unless asked otherwise."""
    options = {"JPEG": {"quality": 95}, "AVIF": {"quality": 95, "speed": 10}, "WEBP": {"lossless": True}}.get(
        format, {}
    ) | options
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def jpeg(picture: Pixels | Image.Image | None = None, **options: Any) -> bytes:
    return encoded(scene() if picture is None else picture, "JPEG", **options)


def png(picture: Pixels | Image.Image | None = None, **options: Any) -> bytes:
    return encoded(scene() if picture is None else picture, "PNG", **options)


def with_orientation(upright: Pixels, orientation: int, format: str = "JPEG") -> bytes:  # noqa: A002
    """A file as a camera held otherwise writes it: turned pixels, and an EXIF tag that turns them back."""
    image = Image.fromarray(upright)
    if orientation in _STORED:
        image = image.transpose(_STORED[orientation])
    return encoded(image, format, exif=exif(orientation))


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[_EXIF_ORIENTATION] = orientation
    return tags


def heic(picture: Pixels) -> bytes:
    """One picture in HEIC. Needs the extra heif."""
    from pillow_heif import from_pillow

    out = io.BytesIO()
    from_pillow(Image.fromarray(picture)).save(out, quality=90)
    return out.getvalue()


def with_damaged_exif(body: bytes) -> bytes:
    """The same JPEG with an EXIF block whose directory points far outside of it."""
    block = (
        b"Exif\x00\x00II*\x00" + struct.pack("<I", 8) + struct.pack("<H", 300) + b"\x12\x01\x03\x00\xff\xff\xff\xff" * 3
    )
    return body[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + body[2:]


def frames(format: str) -> bytes:  # noqa: A002
    """A file of two pictures: first `scene`, then the same in black."""
    first = scene()
    return encoded(first, format, save_all=True, append_images=[Image.fromarray(np.zeros_like(first))])


def truncations(body: bytes, count: int = 40) -> Iterator[bytes]:
    """The beginning of a file, cut at many places: each byte of the header, then evenly."""
    cuts = {*range(min(32, len(body))), *np.linspace(0, len(body) - 1, count).astype(int).tolist()}
    return (body[:cut] for cut in sorted(cuts))


def claiming(kind: str, width: int, height: int) -> bytes:
    """A few bytes whose header announces a picture of any size. Kinds: FORMATS, and WEBP-VP8L, WEBP-VP8X."""
    return _CLAIMS[kind](width, height)


def _jpeg_claim(width: int, height: int) -> bytes:
    body = bytearray(jpeg(noise(8, 8)))
    size_at = body.index(b"\xff\xc0") + 5
    body[size_at : size_at + 4] = struct.pack(">HH", height, width)
    return bytes(body)


def _png_claim(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = png(noise(8, 8))
    return body[:8] + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + body[33:]


def _webp_claim(width: int, height: int) -> bytes:
    body = bytearray(encoded(noise(8, 8), "WEBP", lossless=False))
    body[26:30] = struct.pack("<HH", width, height)
    return bytes(body)


def _vp8l_claim(width: int, height: int) -> bytes:
    body = bytearray(encoded(noise(8, 8), "WEBP"))
    body[21:25] = struct.pack("<I", (width - 1) | (height - 1) << 14)
    return bytes(body)


def _vp8x_claim(width: int, height: int) -> bytes:
    body = bytearray(frames("WEBP"))
    body[24:30] = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return bytes(body)


def _gif_claim(width: int, height: int) -> bytes:
    body = bytearray(encoded(noise(8, 8), "GIF"))
    body[6:10] = struct.pack("<HH", width, height)
    return bytes(body)


def _bmp_claim(width: int, height: int) -> bytes:
    body = bytearray(encoded(noise(8, 8), "BMP"))
    body[18:26] = struct.pack("<ii", width, height)
    return bytes(body)


def _tiff_claim(width: int, height: int) -> bytes:
    body = bytearray(encoded(noise(8, 8), "TIFF"))
    (directory,) = struct.unpack_from("<I", body, 4)
    for entry in range(directory + 2, directory + 26, 12):
        (tag,) = struct.unpack_from("<H", body, entry)
        struct.pack_into("<HII", body, entry + 2, 4, 1, {256: width, 257: height}[tag])
    return bytes(body)


_CLAIMS = {
    "JPEG": _jpeg_claim,
    "PNG": _png_claim,
    "WEBP": _webp_claim,
    "WEBP-VP8L": _vp8l_claim,
    "WEBP-VP8X": _vp8x_claim,
    "GIF": _gif_claim,
    "BMP": _bmp_claim,
    "TIFF": _tiff_claim,
}
