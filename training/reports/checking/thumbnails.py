"""Small pictures for a page: square, as networks take them, and few enough bytes for one file."""

from __future__ import annotations

import base64
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import simplejpeg

from classifier.card import InputSpec
from classifier.errors import SightlineError
from classifier.images import decode, from_array
from training.datasets.dataset import printable
from training.datasets.listing import Listing

SIDE = 96  # pixels
QUALITY = 72
MOST_BYTES = 3_300_000  # of all of them, as JPEG; base64 adds a third


def thumbnails(listing: Listing, files: Iterable[str]) -> dict[str, str]:
    """A `data:` URL for each file of the listing that can be read, in this order, as long as MOST_BYTES allow."""
    numbers = {printable(image.name): i for i, image in enumerate(listing.images)}
    found: dict[str, str] = {}
    used = 0
    for file in dict.fromkeys(files):
        if file not in numbers or (picture := _picture(listing, numbers[file])) is None:
            continue
        used += len(picture)
        if used > MOST_BYTES:
            break
        found[file] = f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
    return found


def _picture(listing: Listing, i: int) -> bytes | None:
    spec = InputSpec(height=SIDE, width=SIDE, channels=3)
    try:
        body = listing.read(i)
        pixels: npt.NDArray[np.uint8] = decode(body, spec) if isinstance(body, bytes) else from_array(body, spec)
    except SightlineError:
        return None
    encoded: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=QUALITY)
    return encoded
