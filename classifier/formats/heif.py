"""AVIF and HEIC: boxes within boxes, with a length each (ISO/IEC 14496-12 and 23008-12).

The sides of a picture, and of the tiles that it may be put together from, are in `ispe` boxes: meta, iprp, ipco, ispe.
"""

from __future__ import annotations

from collections.abc import Iterator

from classifier.formats.outline import Outline, damaged, sized, too_many

MOST_BOXES = 4_000  # on the way to the sides; a picture of 48 megapixels has some hundred tiles of one size

AVIF_BRANDS = (b"avif", b"avis")
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1")


def kind_of(body: bytes) -> str | None:
    """AVIF or HEIC, by the brands in the first box; None for anything else."""
    if body[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(body[:4], "big"), 4096, len(body))
    brands = [body[8:12], *(body[at : at + 4] for at in range(16, end - 3, 4))]
    if any(brand in AVIF_BRANDS for brand in brands):
        return "AVIF"
    return "HEIC" if brands[0] in HEIC_BRANDS else None


def outline(body: bytes, kind: str) -> Outline:
    """The outline of an AVIF or HEIC: its largest sides. Raises UndecodableImage, TooComplexImage or ImageTooLarge."""
    sides = [(0, 0)]
    left = MOST_BOXES
    inside = [(0, len(body))]
    for path in ((b"meta", 12), (b"iprp", 8), (b"ipco", 8), (b"ispe", 12)):
        name, head = path
        found = []
        for begin, end in inside:
            for box, box_begin, box_end in _boxes(body, begin, end):
                left -= 1
                if left < 0:
                    raise too_many(kind, MOST_BOXES, "boxes")
                if box == name:
                    found.append((box_begin + head - 8, box_end))
        inside = found
    sides += [
        (int.from_bytes(body[at : at + 4], "big"), int.from_bytes(body[at + 4 : at + 8], "big")) for at, _ in inside
    ]
    width, height = max(sides, key=lambda side: side[0] * side[1])
    if not inside:
        raise damaged(kind, "nothing says how large it is")
    return sized(Outline(kind, width, height, body))


def _boxes(body: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, begin and end of the content of each box, as far as they are whole."""
    while at + 8 <= end:
        size, begin = int.from_bytes(body[at : at + 4], "big"), at + 8
        if size == 1:
            size, begin = int.from_bytes(body[at + 8 : at + 16], "big"), at + 16
        past = end if size == 0 else at + size
        if past < begin or past > end:
            return
        yield body[at + 4 : at + 8], begin, past
        at = past
