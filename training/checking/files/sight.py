"""What is kept of one picture that was read: hashes, a small grey picture, and a few figures."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from classifier.card import InputSpec
from classifier.errors import ImageError
from classifier.formats import outline
from classifier.images import decode, from_array
from training.checking.files.animation import holds_several
from training.datasets.listing import Body
from training.datasets.near_copies import SIDE, shrunk

SIDES = (
    32,
    64,
    128,
    256,
)  # to which pictures are decoded, whatever their shape: the first that holds them, or the last
BORDER = 8  # the outermost pixels of the small picture are so much of its side

TRAITS = {  # what the figures are, by what may give a class away
    "size": ("width", "height"),
    "format": ("format",),
    "colour": ("red", "green", "blue"),
    "colour of the border": ("border red", "border green", "border blue"),
    "brightness": ("brightness", "contrast"),
    "sharpness": ("sharpness",),
}
FIGURES = tuple(name for names in TRAITS.values() for name in names)

Pixels = npt.NDArray[np.uint8]


class Sight(NamedTuple):
    """What one picture shows. `digest` is SHA-256 of the file, `content` a hash of the pixels.

    `grey` is uint8 [SIDE, SIDE]. `figures` is float32, as FIGURES names them. `format` is "" for raw pixels.
    """

    width: int
    height: int
    format: str
    several: bool  # frames or pages
    digest: bytes
    content: int
    grey: Pixels
    figures: npt.NDArray[np.float32]


def look_at(body: Body) -> Sight:
    """Decode a picture to a side of SIDES and say what it shows. Raises ImageError.

    Equal pixels give an equal `content`, also in files of two formats. Of pictures larger than the last of SIDES, which
    are decoded smaller, only files that are equal byte for byte do.
    """
    if isinstance(body, np.ndarray):
        height, width = body.shape[:2]
        pixels = from_array(body, _spec(width, height))
        return _sight(pixels, width, height, "", False, hashlib.sha256(body.tobytes()).digest())
    if not body:
        raise ImageError("the file is empty")
    found = outline(body)
    pixels = decode(body, _spec(found.width, found.height))
    several = holds_several(found.kind, body)
    digest = hashlib.sha256(body).digest()
    return _sight(pixels, found.width, found.height, found.kind, several, digest)


def _spec(width: int, height: int) -> InputSpec:
    side = next((side for side in SIDES if side >= max(width, height)), SIDES[-1])
    return InputSpec(height=side, width=side, channels=3)


def _sight(pixels: Pixels, width: int, height: int, kind: str, several: bool, digest: bytes) -> Sight:
    whole = max(width, height) <= SIDES[-1]
    hashed = hashlib.blake2b(pixels.tobytes() if whole else digest, digest_size=8)
    hashed.update(f"{width} {height}".encode())
    small, grey = shrunk(pixels)
    return Sight(
        width,
        height,
        kind,
        several,
        digest,
        int.from_bytes(hashed.digest(), "little"),
        np.rint(grey).astype(np.uint8),
        np.array([width, height, format_number(kind), *shown(pixels, small, grey)], np.float32),
    )


def shown(pixels: Pixels, small: npt.NDArray[np.float32], grey: npt.NDArray[np.float32]) -> list[float]:
    """The figures that follow from what a picture shows: colour, colour of the border, brightness, sharpness."""
    edge = SIDE // BORDER
    border = np.ones((SIDE, SIDE), bool)
    border[edge:-edge, edge:-edge] = False
    contrast = float(grey.std())
    return [
        *small.mean((0, 1)).tolist(),
        *small[border].mean(0).tolist(),
        float(grey.mean()),
        contrast,
        sharpness(pixels),
    ]


def sharpness(pixels: Pixels) -> float:
    """How much finer detail there is than coarser: the deviation of the Laplacian over that of the halved picture.

    A picture that was blurred, or enlarged, has little, whatever it shows.
    """
    grey = pixels[..., pixels.shape[-1] // 2].astype(np.float32)  # of colours green, which most light is
    even = grey[: len(grey) // 2 * 2, : grey.shape[1] // 2 * 2]
    half = (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4
    return _roughness(grey) / max(_roughness(half.astype(np.float32)), 1.0)


def _roughness(grey: npt.NDArray[np.float32]) -> float:
    rough = grey[1:-1, 1:-1] * 4 - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    return float(rough.std()) if rough.size else 0.0


def format_number(kind: str) -> int:
    """A format as one of the figures, the same in every run."""
    return hashlib.blake2b(kind.encode(), digest_size=2).digest()[0]
