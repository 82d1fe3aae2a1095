"""Pictures that mean no good: every format, every structure that can be repeated, up to the largest body.

Made from a seed, the same each time. Each says which answers are right: codes of the table of limits, or "ok".
`python -m tests.hostile FOLDER` writes them as files, with an index, for a load test to send.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.hostile import bmp, gif, heif, jpeg, png, tiff, webp
from tests.hostile.hostile import Hostile, Maker

BODY_LIMIT = 10_000_000
SIZES = (4_000, 47_000, 300_000, 1_500_000, 4_000_000, 9_600_000)  # bytes

MAKERS: tuple[Maker, ...] = (
    *jpeg.MAKERS,
    *png.MAKERS,
    *gif.MAKERS,
    *bmp.MAKERS,
    *tiff.MAKERS,
    *webp.MAKERS,
    *heif.MAKERS,
)


def every() -> Iterator[Hostile]:
    """Each maker's pictures in each size, and those of one size only, once."""
    for make in MAKERS:
        yield from make.all(SIZES)


def drawn(seed: int, count: int) -> Iterator[Hostile]:
    """`count` pictures, small ones more often than large ones, the same for the same seed."""
    chance = random.Random(seed)
    for _ in range(count):
        size = min(BODY_LIMIT, int(10 ** chance.uniform(3, 7)))
        yield chance.choice(MAKERS)(size)
