"""What the structure of an encoded picture says of it, before a decoder has seen it."""

from __future__ import annotations

from typing import NamedTuple

from classifier.errors import ImageTooLarge, TooComplexImage, UndecodableImage

MOST_SIDE = 1_000_000  # pixels; each row costs a decoder some time and 8 bytes, however few pixels it has


class Outline(NamedTuple):
    """`is_plain` says that decoding takes time and memory in proportion to pixels and bytes, whatever the bytes are.

    Pixels may be up to `width` x `height`. `body` is what to decode: the file, without metadata that nobody asks for.
    `may_turn` says that there is metadata which can hold an orientation.
    """

    kind: str
    width: int
    height: int
    body: bytes
    is_plain: bool = False
    may_turn: bool = True

    @property
    def pixels(self) -> int:
        return self.width * self.height


def sized(outline: Outline) -> Outline:
    """The outline, if its sides can be a picture's. Raises UndecodableImage or ImageTooLarge."""
    if outline.width <= 0 or outline.height <= 0:
        raise damaged(outline.kind, f"it claims {outline.width} x {outline.height} pixels")
    if max(outline.width, outline.height) > MOST_SIDE:
        raise ImageTooLarge(
            f"{outline.width} x {outline.height} has a side of over {MOST_SIDE:,} pixels; scale the picture down first"
        )
    return outline


def damaged(kind: str, what: str) -> UndecodableImage:
    """The error for a file whose structure cannot be followed."""
    return UndecodableImage(f"the {kind} image is damaged or incomplete: {what}")


def too_many(kind: str, most: int, parts: str) -> TooComplexImage:
    """The error for a file with more of something than an honest one has."""
    return TooComplexImage(
        f"the {kind} image has over {most:,} {parts}, more than is read; save it anew, as JPEG or PNG"
    )
