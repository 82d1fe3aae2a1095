"""Requests that mean no good, made from a seed: damaged and lying pictures, bombs, polyglots, absurd JSON and forms."""

from __future__ import annotations

import base64
import io
import json
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
RAW = "application/octet-stream"
_FORM = "multipart/form-data; boundary=x"


class Attack(NamedTuple):
    """One request's body. `name` says what kind it is of."""

    name: str
    media_type: str
    body: bytes


def attacks(seed: int, count: int) -> Iterator[Attack]:
    """`count` requests, the same for the same seed; most are damaged pictures, for most of the code is in decoders."""
    chance = random.Random(seed)
    for number in range(count):
        kind = chance.choices(KINDS, WEIGHTS)[0]
        yield kind(chance, number)


def lying_header(width: int = 65_000, height: int = 65_000) -> bytes:
    """The first 64 bytes of a PNG that claims so many pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(b"")) + bytes(64))[:64]


def png_bomb(side: int = 46_000) -> bytes:
    """A PNG of some 40 kB that unfolds to gigapixels."""
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(41_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def swollen_webp(side: int = 7_000) -> bytes:
    """A WebP of 64 bytes that claims so many pixels a side and breaks off once there is room for them all."""
    out = io.BytesIO()
    Image.new("RGB", (16, 16), "teal").save(out, "WEBP")
    body = bytearray(out.getvalue())
    body[26:30] = struct.pack("<HH", side, side)  # of the VP8 frame (RFC 6386, section 9.1)
    return bytes(body)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _picture(chance: random.Random) -> tuple[str, bytes]:
    kind = chance.choice(FORMATS)
    size = (chance.randint(1, 90), chance.randint(1, 90))
    mode = chance.choice({"JPEG": ("RGB", "L", "CMYK"), "BMP": ("RGB", "L")}.get(kind, ("RGB", "L", "P", "RGBA")))
    image = Image.frombytes("L", size, chance.randbytes(size[0] * size[1])).convert("RGB").convert(mode)
    if mode not in ("RGB", "L", "RGBA") and kind == "WEBP":
        image = image.convert("RGB")
    out = io.BytesIO()
    image.save(out, kind)
    return kind, out.getvalue()


def _mutated(chance: random.Random, _: int) -> Attack:
    kind, body = _picture(chance)
    damaged = bytearray(body)
    reach = len(damaged) if chance.random() < 0.5 else min(len(damaged), 120)  # half of them in the header
    for _ in range(chance.randint(1, 12)):
        at = chance.randrange(reach)
        damaged[at : at + 1] = chance.randbytes(chance.randint(0, 3))
        reach = min(reach, len(damaged)) or 1
    return Attack(f"mutated {kind}", RAW, bytes(damaged))


def _truncated(chance: random.Random, _: int) -> Attack:
    kind, body = _picture(chance)
    return Attack(f"truncated {kind}", RAW, body[: chance.randrange(len(body))])


def _lying(chance: random.Random, _: int) -> Attack:
    sides = (0, 1, 7_072, 32_767, 65_000, 65_535, 2**31 - 1, 2**32 - 1)
    width, height = chance.choice(sides), chance.choice(sides)
    bodies = {
        "PNG": lying_header(width, height) + zlib.compress(bytes(1000)),
        "BMP": b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 200, 0, 0, 54, 40, width % 2**31, -(height % 2**31), 1, 24, 0, 0, 0, 0, 0, 0),
        "GIF": b"GIF89a" + struct.pack("<HHBBB", width % 2**16, height % 2**16, 0x80, 0, 0) + bytes(100),
        "WEBP": b"RIFF\xff\xff\xff\x7fWEBPVP8X\x0a\0\0\0\0\0\0\0"
        + struct.pack("<I", width)[:3]
        + struct.pack("<I", height)[:3],
        "TIFF": b"II*\0\x08\0\0\0\x02\0" + struct.pack("<HHIIHHII", 256, 4, 1, width, 257, 4, 1, height) + bytes(4),
    }
    kind = chance.choice(list(bodies))
    return Attack(f"lying {kind}", RAW, bodies[kind])


def _bomb(chance: random.Random, _: int) -> Attack:
    text = _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(20_000_000), 9))
    profile = _chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(20_000_000), 9))
    head = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", 50, 50, 8, 0, 0, 0, 0))
    rows = _chunk(b"IDAT", zlib.compress(bytes(20_000_000), 9)) + _chunk(b"IEND", b"")
    bodies = {
        "text": head + text + rows,
        "profile": head + profile + rows,
        "rows": head + rows,
        "pixels": png_bomb(10_000),
        "canvas": swollen_webp(),
    }
    name = chance.choice(list(bodies))
    return Attack(f"bomb of {name}", RAW, bodies[name])


def _frames(chance: random.Random, _: int) -> Attack:
    kind = chance.choice(("GIF", "TIFF", "WEBP"))
    frames = [Image.new("L", (20, 20), shade) for shade in range(60)]
    out = io.BytesIO()
    frames[0].convert("RGB").save(out, kind, save_all=True, append_images=[f.convert("RGB") for f in frames[1:]])
    return Attack(f"many frames of {kind}", RAW, out.getvalue())


def _polyglot(chance: random.Random, _: int) -> Attack:
    body = _picture(chance)[1]
    extra = chance.choice(
        (b"<script>alert(1)</script>", b"PK\x03\x04" + bytes(50), b"%PDF-1.7\n", b"#!/bin/sh\nreboot\n")
    )
    return Attack("polyglot", RAW, extra + body if chance.random() < 0.5 else body + extra)


def _other_format(chance: random.Random, _: int) -> Attack:
    heads = (
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"%PDF-1.7\n",
        b"\0\0\0\x18ftypheic",
        b"8BPS\0\1",
        b"\x1f\x8b\x08",
        b"<svg/>",
        b"",
    )
    return Attack(
        "another format", chance.choice((RAW, "image/png", "image/x-eps")), chance.choice(heads) + chance.randbytes(200)
    )


def _json(chance: random.Random, _: int) -> Attack:
    picture = _picture(chance)[1]
    image = base64.b64encode(picture).decode()
    texts = (
        "[" * chance.randint(1, 9_000),
        '{"image":' * chance.randint(1, 3_000),
        json.dumps({"image": image, "url": "http://127.0.0.1/"}),
        json.dumps({"image": image[: chance.randrange(len(image))]}),
        json.dumps({"image": chance.choice((None, 1, [], {}, "http://127.0.0.1/", "file:///etc/passwd", "\ud800"))}),
        '{"image": NaN}',
        '{"image": 1e999}',
        json.dumps({f"{n}": n for n in range(2_000)}),
    )
    return Attack("json", "application/json", chance.choice(texts).encode("utf-8", "surrogatepass"))


def _form(chance: random.Random, _: int) -> Attack:
    picture = _picture(chance)[1]
    part = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    bodies = (
        part + picture,
        part + b"\r" * 5_000 + b"\r\n--x--\r\n",
        (part + b"\r\n") * 100 + b"--x--\r\n",
        b"--x\r\n" + b"A: b\r\n" * 2_000,
        part.replace(b"image", b"\xff\xfe") + picture + b"\r\n--x--\r\n",
        part.replace(b'"a"', b'"../../../etc/passwd"') + picture[:50] + b"\r\n--x--\r\n",
        chance.randbytes(300),
    )
    return Attack("form", _FORM, chance.choice(bodies))


def _noise(chance: random.Random, _: int) -> Attack:
    kinds = (RAW, "image/jpeg", "text/html", "", "multipart/form-data", "application/json; charset=utf-16", "a" * 500)
    return Attack("noise", chance.choice(kinds), chance.randbytes(chance.randrange(400)))


_Kind = Callable[[random.Random, int], Attack]

_WEIGHED: dict[_Kind, int] = {
    _mutated: 50,
    _truncated: 15,
    _lying: 8,
    _bomb: 1,
    _frames: 2,
    _polyglot: 4,
    _other_format: 4,
    _json: 6,
    _form: 6,
    _noise: 4,
}
KINDS, WEIGHTS = tuple(_WEIGHED), tuple(_WEIGHED.values())
