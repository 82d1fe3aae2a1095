"""Pictures to send, made by the load test itself: other sizes, formats and contents, the same in every run."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

# From a thumbnail to a small photo, upright and wide; the proportions follow what upload forms see, which is photos.
SIZES = ((32, 32), (28, 28), (64, 48), (96, 128), (240, 180), (320, 240), (500, 374), (374, 500), (800, 600))
FORMATS = ("JPEG", "JPEG", "JPEG", "PNG", "WEBP")


class Picture(NamedTuple):
    """One encoded picture and the file it also lies in, for the offline predictor."""

    path: Path
    body: bytes
    media_type: str


def make(folder: Path, count: int = 27) -> list[Picture]:
    """Write `count` different pictures into a folder."""
    return [_made(folder, number) for number in range(count)]


def jpegs(folder: Path, size: tuple[int, int], count: int, *, grey: bool = False) -> list[Picture]:
    """Write `count` different JPEGs of one size, width and height, into a folder that may not exist yet."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _written(folder / f"{number:03}.jpeg", _drawn(size, number).convert("L" if grey else "RGB"), "JPEG")
        for number in range(count)
    ]


def broken(picture: Picture) -> bytes:
    """An upload that broke off half-way."""
    return picture.body[: len(picture.body) // 2]


def _made(folder: Path, number: int) -> Picture:
    kind = FORMATS[number % len(FORMATS)]
    return _written(folder / f"{number:03}.{kind.lower()}", _drawn(SIZES[number % len(SIZES)], number), kind)


def _written(path: Path, image: Image.Image, kind: str) -> Picture:
    out = io.BytesIO()
    image.save(out, kind, quality=85)
    path.write_bytes(out.getvalue())
    return Picture(path, out.getvalue(), f"image/{kind.lower()}")


def _drawn(size: tuple[int, int], seed: int) -> Image.Image:
    """Coloured shapes under grain: compresses like a photo, and networks differ about it."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", size, tuple(random.integers(0, 256, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        corners = random.integers(0, [*size, *size])
        left, top, right, bottom = *np.minimum(corners[:2], corners[2:]), *np.maximum(corners[:2], corners[2:])
        draw.ellipse((left, top, right, bottom), fill=tuple(random.integers(0, 256, 3).tolist()))
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(2)), np.int16)
    grain = random.normal(0, 8, (size[1], size[0], 1))
    return Image.fromarray(np.clip(soft + grain, 0, 255).astype(np.uint8))
