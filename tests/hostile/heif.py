"""Hostile AVIFs and HEICs: boxes without end, sides that lie."""

from __future__ import annotations

import struct
from functools import cache, partial

from PIL import Image

from tests import pictures
from tests.hostile.hostile import COMPLEX, DAMAGED, LARGE, MEMORY, OK, SLOW, Maker, single, sized

UNREAD = "not-an-image"  # HEIC where its library is not installed


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content


@cache
def avif(side: int = 64) -> bytes:
    return pictures.encoded(Image.new("RGB", (side, side), "teal"), "AVIF", speed=10)


def _boxes_at_the_end(one: bytes, size: int) -> bytes:
    return avif() + one * max(1, size // len(one))


def _boxes_at_the_start(one: bytes, size: int) -> bytes:
    body = avif()
    head = int.from_bytes(body[:4], "big")
    return body[:head] + one * max(1, size // len(one)) + body[head:]


def _brands(size: int) -> bytes:
    body = avif()
    head = int.from_bytes(body[:4], "big")
    return box(b"ftyp", body[8:head] + b"mif1" * (size // 4)) + body[head:]


def _claiming(brand: bytes, width: int, height: int) -> bytes:
    sides = box(b"ispe", bytes(4) + struct.pack(">II", width, height))
    return box(b"ftyp", brand + bytes(4) + brand) + box(b"meta", bytes(4) + box(b"iprp", box(b"ipco", sides)))


def _sides(brand: bytes, size: int) -> bytes:
    one = box(b"ispe", bytes(4) + struct.pack(">II", 64, 64))
    properties = box(b"iprp", box(b"ipco", one * max(1, size // len(one))))
    return box(b"ftyp", brand + bytes(4) + brand) + box(b"meta", bytes(4) + properties)


def _items(brand: bytes, size: int) -> bytes:
    item = box(b"infe", b"\2\0\0\0\0\1\0\0av01\0")
    entries = max(1, min(60_000, size // len(item)))
    sides = box(b"iprp", box(b"ipco", box(b"ispe", bytes(4) + struct.pack(">II", 64, 64))))
    items = box(b"iinf", bytes(4) + struct.pack(">H", entries) + item * entries)
    return box(b"ftyp", brand + bytes(4) + brand) + box(b"meta", bytes(4) + sides + items)


def _heic(name: str, maker: Maker) -> Maker:
    return maker._replace(name=name, codes=maker.codes | {UNREAD})


_READ = (OK, COMPLEX, DAMAGED)

_AVIF = (
    sized("avif-boxes-at-the-end", partial(_boxes_at_the_end, box(b"free")), _READ),
    sized("avif-boxes-at-the-start", partial(_boxes_at_the_start, box(b"free")), _READ),
    sized("avif-brands", _brands, _READ),
    single("avif-25-megapixels", partial(avif, 5_000), (OK, SLOW)),
)
_EITHER = {
    "sides": sized("", partial(_sides, b"avif"), _READ),
    "items": sized("", partial(_items, b"avif"), _READ),
    "gigapixels": single("", partial(_claiming, b"avif", 60_000, 60_000), (LARGE,)),
    "nothing-in-49-megapixels": single("", partial(_claiming, b"avif", 7_000, 7_000), (DAMAGED, MEMORY)),
}
_HEIC = {
    "sides": sized("", partial(_sides, b"heic"), _READ),
    "items": sized("", partial(_items, b"heic"), _READ),
    "gigapixels": single("", partial(_claiming, b"heic", 60_000, 60_000), (LARGE,)),
    "nothing-in-49-megapixels": single("", partial(_claiming, b"heic", 7_000, 7_000), (DAMAGED, MEMORY)),
}

MAKERS = (
    *_AVIF,
    *(maker._replace(name=f"avif-{name}") for name, maker in _EITHER.items()),
    *(_heic(f"heic-{name}", maker) for name, maker in _HEIC.items()),
)
