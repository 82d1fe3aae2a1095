"""Formats of pictures that are not read, so that a message can call them by their names."""

from __future__ import annotations

_BY_ENDING = {
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


def format_by_name(name: str) -> str | None:
    """As in "raw photo" for `IMG_0001.CR2`; None for any other file."""
    dot = name.rfind(".")
    return _BY_ENDING.get(name[dot:].lower()) if dot >= 0 else None
