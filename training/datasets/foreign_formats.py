"""Formats of pictures that are not read, so that a message can call them by their names."""

from __future__ import annotations

_BY_ENDING = {
    ".heic": "HEIC",
    ".heif": "HEIC",
    ".avif": "AVIF",
    ".jxl": "JPEG XL",
    ".jp2": "JPEG 2000",
    ".svg": "SVG",
    ".psd": "Photoshop",
    ".dng": "raw photo",
    ".cr2": "raw photo",
    ".cr3": "raw photo",
    ".nef": "raw photo",
    ".arw": "raw photo",
    ".raf": "raw photo",
    ".orf": "raw photo",
    ".rw2": "raw photo",
}
_BY_BRAND = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC", b"msf1": "HEIC", b"avif": "AVIF", b"avis": "AVIF"}


def format_by_name(name: str) -> str | None:
    """As in "HEIC" for `IMG_0001.HEIC`; None for any other file."""
    dot = name.rfind(".")
    return _BY_ENDING.get(name[dot:].lower()) if dot >= 0 else None


def format_by_content(body: bytes) -> str | None:
    """ "HEIC" or "AVIF", whatever the file is called: phones write HEIC into files called .jpg."""
    return _BY_BRAND.get(body[8:12]) if body[4:8] == b"ftyp" else None
