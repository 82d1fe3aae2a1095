"""Pictures that show nothing a network was trained on, made by a program: what an "unfamiliar" score is tried on.

Those for choosing a method and those for stating what it is worth are of different kinds. So the stated figure is not
of what the method was chosen for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from classifier.card import InputSpec
from classifier.images import from_array
from training.datasets.dataset import Split

Picture = npt.NDArray[np.uint8]
Draw = np.random.Generator

SIDE = 224  # of a drawn picture, before it is brought to the network's input
TILES = 4  # in each direction, of a picture whose tiles are shuffled
CROP = 8  # a crop's side is one part in so many of the picture's
_WORDS = ("invoice", "total", "page", "menu", "error", "open", "close", "404", "search", "Monday", "price", "OK", "map")


def noise(draw: Draw) -> Picture:
    """Each value at random."""
    return draw.integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def flat(draw: Draw) -> Picture:
    """One colour; black, white and greys are frequent."""
    colour = draw.integers(0, 256, 3) if draw.random() < 0.5 else np.repeat(draw.choice([0, 64, 128, 192, 255]), 3)
    return np.full((SIDE, SIDE, 3), colour, np.uint8)


def text(draw: Draw) -> Picture:
    """Lines of words on a plain ground, as in a screenshot of a page."""
    dark = bool(draw.random() < 0.3)
    ground, ink = ((20, 20, 30), (235, 235, 235)) if dark else ((250, 250, 250), (25, 25, 25))
    image = Image.new("RGB", (SIDE, SIDE), ground)
    pencil, size = ImageDraw.Draw(image), int(draw.integers(11, 36))
    font = ImageFont.load_default(size)
    for top in range(4, SIDE, round(size * 1.4)):
        pencil.text((6, top), " ".join(draw.choice(_WORDS, 8)), fill=ink, font=font)
    return np.asarray(image)


def chart(draw: Draw) -> Picture:
    """Axes with bars and a line."""
    image = Image.new("RGB", (SIDE, SIDE), (255, 255, 255))
    pencil = ImageDraw.Draw(image)
    count = int(draw.integers(4, 10))
    wide, colour = (SIDE - 40) / count, tuple(int(v) for v in draw.integers(0, 256, 3))
    tops = draw.integers(20, SIDE - 30, count)
    for i, top in enumerate(tops.tolist()):
        pencil.rectangle((30 + i * wide, top, 30 + (i + 0.7) * wide, SIDE - 20), fill=colour)
    line = [(30 + (i + 0.35) * wide, float(y)) for i, y in enumerate(draw.integers(20, SIDE - 30, count))]
    pencil.line(line, fill=(200, 30, 30), width=3)
    pencil.line([(30, 10), (30, SIDE - 20), (SIDE - 5, SIDE - 20)], fill=(0, 0, 0), width=2)
    return np.asarray(image)


def texture(draw: Draw) -> Picture:
    """Checks or dots in two colours."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    step = int(draw.integers(6, 40))
    if draw.random() < 0.5:
        inside = (rows // step + columns // step) % 2 == 0
    else:
        inside = (rows % step - step / 2) ** 2 + (columns % step - step / 2) ** 2 < (step / 3) ** 2
    one, other = draw.integers(0, 256, (2, 3))
    return np.asarray(np.where(inside[..., None], one, other), np.uint8)


def gradient(draw: Draw) -> Picture:
    """One colour that turns into another, in any direction."""
    rows, columns = np.mgrid[:SIDE, :SIDE] / (SIDE - 1)
    angle = draw.uniform(0, 2 * np.pi)
    along = rows * np.sin(angle) + columns * np.cos(angle)
    share = (along - along.min()) / (along.max() - along.min())
    one, other = draw.integers(0, 256, (2, 3))
    return np.asarray(np.rint(one + share[..., None] * (other - one)), np.uint8)


def clouds(draw: Draw) -> Picture:
    """Smooth noise of a few colours, without an edge."""
    cells = int(draw.integers(3, 24))
    small = Image.fromarray(draw.integers(0, 256, (cells, cells, 3), np.uint8))
    return np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def stripes(draw: Draw) -> Picture:
    """Waves of two colours, in any direction."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    angle, length = draw.uniform(0, np.pi), draw.uniform(6, 60)
    wave = 0.5 + 0.5 * np.sin((rows * np.sin(angle) + columns * np.cos(angle)) * 2 * np.pi / length)
    one, other = draw.integers(0, 256, (2, 3))
    return np.asarray(np.rint(one + wave[..., None] * (other - one)), np.uint8)


def shuffled(genuine: Picture, draw: Draw) -> Picture:
    """A genuine picture cut into tiles that lie in another order: its colours and textures, and nothing to be seen."""
    rows, columns = genuine.shape[0] // TILES, genuine.shape[1] // TILES
    whole = genuine[: rows * TILES, : columns * TILES]
    tiles = whole.reshape(TILES, rows, TILES, columns, -1).swapaxes(1, 2).reshape(TILES * TILES, rows, columns, -1)
    tiles = tiles[draw.permutation(len(tiles))].reshape(TILES, TILES, rows, columns, -1)
    return np.ascontiguousarray(tiles.swapaxes(1, 2).reshape(whole.shape))


def cropped(genuine: Picture, draw: Draw) -> Picture:
    """A small part of a genuine picture, which `from_array` enlarges."""
    height, width = (max(2, side // CROP) for side in genuine.shape[:2])
    top, left = draw.integers(0, genuine.shape[0] - height + 1), draw.integers(0, genuine.shape[1] - width + 1)
    return np.ascontiguousarray(genuine[top : top + height, left : left + width])


DRAWN_TO_CHOOSE: Mapping[str, Callable[[Draw], Picture]] = {"gradients": gradient, "clouds": clouds, "stripes": stripes}
CUT_TO_CHOOSE: Mapping[str, Callable[[Picture, Draw], Picture]] = {"shuffled tiles": shuffled, "small crops": cropped}
KINDS_TO_CHOOSE = len(DRAWN_TO_CHOOSE) + len(CUT_TO_CHOOSE)
DRAWN_TO_REPORT: Mapping[str, Callable[[Draw], Picture]] = {
    "noise": noise,
    "flat colours": flat,
    "text": text,
    "charts": chart,
    "textures": texture,
}


def to_choose(spec: InputSpec, genuine: Split, count: int, seed: int = 0) -> Iterator[tuple[str, Picture]]:
    """Kinds of outliers for choosing a method, some of them cut from `genuine`: each with its pictures.

    Those are uint8 [count, height, width, channels], and are made when their kind is asked for.
    """
    draw = np.random.default_rng([seed, 1])
    for kind, make in DRAWN_TO_CHOOSE.items():
        yield kind, _drawn(make, spec, count, draw)
    chosen = draw.choice(len(genuine), count, replace=count > len(genuine))
    for kind, cut in CUT_TO_CHOOSE.items():
        yield kind, np.stack([from_array(cut(genuine.pixels[int(i)], draw), spec) for i in chosen])


def to_report(spec: InputSpec, count: int, seed: int = 0) -> Iterator[tuple[str, Picture]]:
    """As `to_choose`, for stating what a method is worth."""
    draw = np.random.default_rng([seed, 2])
    for kind, make in DRAWN_TO_REPORT.items():
        yield kind, _drawn(make, spec, count, draw)


def _drawn(make: Callable[[Draw], Picture], spec: InputSpec, count: int, draw: Draw) -> Picture:
    return np.stack([from_array(make(draw), spec) for _ in range(count)])
