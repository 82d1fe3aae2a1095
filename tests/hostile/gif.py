"""Hostile GIFs: blocks before and after the first picture."""

from __future__ import annotations

import struct
from functools import partial

from tests import pictures
from tests.hostile.hostile import COMPLEX, DAMAGED, LARGE, OK, SLOW, single, sized


def _blocks(one: bytes, size: int) -> bytes:
    return one * max(1, size // len(one))


def _before_the_picture(addition: bytes) -> bytes:
    body = pictures.encoded(pictures.scene(), "GIF")
    at = 13 + (3 << (body[10] & 7) + 1)
    return body[:at] + addition + body[at:]


def _comment(one: bytes, size: int) -> bytes:
    return _before_the_picture(b"!\xfe" + _blocks(bytes((len(one),)) + one, size) + b"\0")


def _extensions(one: bytes, size: int) -> bytes:
    return _before_the_picture(_blocks(one, size))


def _after_the_picture(one: bytes, size: int) -> bytes:
    body = pictures.encoded(pictures.scene(), "GIF")
    return body[:-1] + _blocks(one, size) + b";"


def _of_codes(width: int, height: int, codes: bytes, size: int) -> bytes:
    """A picture whose data is one and the same byte: with 8 bits to a code and clear codes, say."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    picture = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02"
    return head + picture + _blocks(bytes((255,)) + codes * 255, size) + b"\0;"


def _beyond_the_screen(side: int) -> bytes:
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", 8, 8, 0, 0, 0)
        + b","
        + struct.pack("<HHHHB", 0, 0, side, side, 0)
        + b"\x02\0;"
    )


_READ = (OK, COMPLEX)

MAKERS = (
    sized("gif-comments", partial(_comment, b"c" * 255), _READ),
    sized("gif-comments-of-a-byte", partial(_comment, b"c"), _READ),
    sized("gif-empty-comments", partial(_extensions, b"!\xfe\0"), _READ),
    sized("gif-controls", partial(_extensions, b"!\xf9\4\0\0\0\0\0"), _READ),
    sized("gif-applications", partial(_extensions, b"!\xff\x0bNETSCAPE2.0\3\1\0\0\0"), _READ),
    sized("gif-junk-blocks", partial(_extensions, b"\0"), _READ),
    sized("gif-frames", partial(_after_the_picture, b"," + bytes(8) + b"\0\2\2L\1\0"), (OK,)),
    sized("gif-clear-codes", partial(_of_codes, 200, 200, b"\x24"), (OK, DAMAGED)),
    sized("gif-zero-codes", partial(_of_codes, 7_000, 7_000, b"\0"), (OK, DAMAGED, SLOW)),
    sized("gif-many-codes", partial(_of_codes, 7_000, 7_000, b"\x88"), (OK, DAMAGED, SLOW)),
    single("gif-beyond-the-screen", partial(_beyond_the_screen, 65_000), (LARGE,)),
    single("gif-empty-picture", partial(_beyond_the_screen, 0), (OK, DAMAGED)),
)
