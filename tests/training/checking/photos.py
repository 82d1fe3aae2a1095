"""Pictures that look like photos to whatever compares them: light, shapes and texture, no two alike; and copies."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter


def photo(seed: int, width: int = 96, height: int = 72) -> Image.Image:
    """A scene that follows from the seed: a lit background, some shapes, and grain."""
    rng = np.random.default_rng(seed)
    rough = Image.fromarray(rng.integers(30, 220, (4, 5, 3), np.uint8))
    image = rough.resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(4, 8))):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        w, h = rng.uniform(0.1, 0.4, 2) * (width, height)
        colour = tuple(rng.integers(0, 256, 3).tolist())
        box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        (draw.ellipse if rng.random() < 0.6 else draw.rectangle)(box, fill=colour)
    grain = rng.normal(0, 6, (height, width, 3))
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(0.7)), np.float64) + grain
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def thing(kind: str, seed: int, tint: tuple[int, int, int] | None = None) -> Image.Image:
    """A photo with an arrow to the "left" or "right", a "ring" or a "cross", of any colour, about the middle.

    With a `tint` the background is of that colour, about.
    """
    rng = np.random.default_rng([seed, 1])
    image = photo(seed, 64, 64)
    if tint is not None:
        image = Image.blend(image, Image.new("RGB", image.size, tint), 0.7)
    draw = ImageDraw.Draw(image)
    x, y = rng.normal(32, 2, 2)
    ink = tuple((rng.integers(0, 60, 3) + (195 if rng.random() < 0.5 else 0)).tolist())
    size = rng.uniform(20, 25)
    if kind in ("left", "right"):
        way = size if kind == "right" else -size
        draw.polygon([(x + way, y), (x - way, y - size), (x - way, y + size)], fill=ink)
    elif kind == "ring":
        draw.ellipse((x - size, y - size, x + size, y + size), outline=ink, width=8)
    else:
        draw.rectangle((x - size, y - 5, x + size, y + 5), fill=ink)
        draw.rectangle((x - 5, y - size, x + 5, y + size), fill=ink)
    return image


def things(count: int, *kinds: str) -> dict[str, bytes]:
    """`ring/0.jpg` and so on, `count` of each kind."""
    return {f"{kind}/{n}.jpg": jpeg(thing(kind, 1_000 * at + n)) for at, kind in enumerate(kinds) for n in range(count)}


def jpeg(image: Image.Image, quality: int = 92) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _cropped(image: Image.Image, rng: np.random.Generator) -> bytes:
    left, top, right, bottom = rng.uniform(0, 0.1, 4) * (image.width, image.height, image.width, image.height)
    return jpeg(image.crop((round(left), round(top), round(image.width - right), round(image.height - bottom))))


COPIES: dict[str, Callable[[Image.Image, np.random.Generator], bytes]] = {
    "resized": lambda image, rng: jpeg(image.resize((round(image.width * 0.6), round(image.height * 0.6)))),
    "encoded anew": lambda image, rng: jpeg(image, quality=int(rng.integers(35, 60))),
    "cropped": _cropped,
    "brightened": lambda image, rng: jpeg(ImageEnhance.Brightness(image).enhance(rng.choice([0.75, 1.15]))),
}


def folder_files(classes: dict[str, range]) -> dict[str, bytes]:
    """`cup/3.jpg` for the number 3 in the range of "cup", and so on."""
    return {f"{label}/{n}.jpg": jpeg(photo(n)) for label, numbers in classes.items() for n in numbers}
