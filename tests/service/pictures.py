"""Encoded pictures to send."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def jpeg(width: int = 40, height: int = 30, seed: int = 0) -> bytes:
    """A JPEG with smooth random colours."""
    corners = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), np.uint8)
    return _encoded(Image.fromarray(corners).resize((width, height), Image.Resampling.BICUBIC))


def of_one_colour(width: int, height: int, colour: str = "teal") -> bytes:
    """A JPEG of few bytes for its pixels."""
    return _encoded(Image.new("RGB", (width, height), colour))


def slow_to_decode() -> bytes:
    """A PNG of few bytes and many pixels: JPEG's shortcut to a smaller picture does not exist for it."""
    return _encoded(Image.new("RGB", (4000, 3000), "teal"), "PNG")


TEXT = b"Dear network, what is on this picture?"


def truncated(body: bytes) -> bytes:
    """An upload that broke off half-way."""
    return body[: len(body) // 2]


def _encoded(image: Image.Image, kind: str = "JPEG") -> bytes:
    out = io.BytesIO()
    image.save(out, kind, quality=90)
    return out.getvalue()
