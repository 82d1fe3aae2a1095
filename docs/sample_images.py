"""Draw the page's sample images: `python -m docs.sample_images` writes service/web/samples/.

The cat is docs/chelsea.jpg, smaller: Chelsea, by Stéfan van der Walt (CC0). Everything else is drawn here.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "service" / "web" / "samples"

SIDE = 240  # pixels
SCALE = 4  # drawn so many times as large, for smooth edges

Colour = tuple[int, int, int]


class Drawing:
    """A square picture whose background goes from one colour at the top to another at the bottom."""

    def __init__(self, top: Colour, bottom: Colour) -> None:
        share = np.linspace(0, 1, SIDE * SCALE)[:, None, None]
        rows = np.array(top) * (1 - share) + np.array(bottom) * share
        self._image = Image.fromarray(np.broadcast_to(rows, (SIDE * SCALE, SIDE * SCALE, 3)).astype(np.uint8).copy())
        self._draw = ImageDraw.Draw(self._image)

    def polygon(self, colour: Colour, *points: tuple[int, int]) -> None:
        self._draw.polygon([(x * SCALE, y * SCALE) for x, y in points], fill=colour)

    def box(self, colour: Colour, *sides: int) -> None:
        """`sides` are left, top, right and bottom."""
        self._draw.rectangle([side * SCALE for side in sides], fill=colour)

    def wheel(self, x: int, y: int, size: int) -> None:
        for colour, inset in (((25, 25, 25), 0), ((165, 165, 165), size * 2 // 7)):
            sides = (x + inset, y + inset, x + size - inset, y + size - inset)
            self._draw.ellipse([side * SCALE for side in sides], fill=colour)

    def windows(self, colour: Colour, places: Iterable[int], top: int, size: int) -> None:
        for x in places:
            self.box(colour, x, top, x + size, top + size)

    def finished(self) -> Image.Image:
        return self._image.filter(ImageFilter.GaussianBlur(SCALE / 2)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def ship() -> Image.Image:
    drawing = Drawing((150, 185, 220), (205, 222, 235))
    drawing.box((40, 80, 120), 0, 150, SIDE, SIDE)
    drawing.polygon((120, 30, 30), (18, 128), (222, 128), (200, 172), (46, 172))
    drawing.polygon((235, 235, 235), (14, 118), (226, 118), (222, 134), (18, 134))
    drawing.box((240, 240, 240), 60, 92, 180, 118)
    drawing.box((225, 225, 225), 76, 72, 150, 92)
    drawing.box((200, 60, 40), 96, 44, 120, 72)
    drawing.box((30, 30, 30), 96, 44, 120, 52)
    drawing.windows((70, 90, 110), range(68, 176, 14), 100, 7)
    return drawing.finished()


def airplane() -> Image.Image:
    drawing = Drawing((90, 150, 220), (190, 215, 240))
    body = ((20, 120), (48, 108), (190, 104), (222, 112), (224, 120), (190, 130), (48, 130))
    drawing.polygon((238, 240, 244), *body)
    drawing.polygon((200, 40, 40), (190, 106), (206, 66), (224, 66), (214, 112))
    drawing.polygon((200, 206, 214), (92, 118), (130, 118), (176, 176), (156, 176))
    drawing.polygon((215, 220, 226), (100, 108), (130, 108), (160, 74), (146, 74))
    drawing.polygon((200, 206, 214), (188, 116), (206, 116), (222, 138), (212, 138))
    drawing.windows((70, 90, 120), range(56, 186, 10), 112, 4)
    return drawing.finished()


def automobile() -> Image.Image:
    drawing = Drawing((190, 210, 230), (225, 230, 232))
    drawing.box((110, 110, 108), 0, 160, SIDE, SIDE)
    body = ((14, 134), (26, 120), (70, 114), (96, 84), (160, 84), (188, 114), (226, 122), (228, 156), (14, 156))
    drawing.polygon((190, 25, 30), *body)
    drawing.polygon((70, 90, 110), (82, 112), (100, 92), (126, 92), (126, 112))
    drawing.polygon((70, 90, 110), (132, 92), (156, 92), (176, 112), (132, 112))
    for x in (42, 158):
        drawing.wheel(x, 136, 42)
    return drawing.finished()


def stripes() -> Image.Image:
    """What looks like nothing that a network of photos was trained on."""
    y, x = np.mgrid[0:160, 0:160]
    is_light = ((x + y) // 16 % 2 == 0)[..., None]
    return Image.fromarray(np.where(is_light, (240, 150, 40), (40, 70, 160)).astype(np.uint8))


def cat() -> Image.Image:
    with Image.open(ROOT / "docs" / "chelsea.jpg") as photo:
        return photo.convert("RGB").resize((360, 239), Image.Resampling.LANCZOS)


def main() -> None:
    for draw in (ship, airplane, automobile, stripes, cat):
        draw().save(SAMPLES / f"{draw.__name__}.jpg", quality=82, optimize=True)


if __name__ == "__main__":
    main()
