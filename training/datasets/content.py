"""Which images are the same: a hash of the pixels that a network takes of them."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from training.datasets.pixel_block import PixelBlock


def content_hashes(pixels: PixelBlock) -> npt.NDArray[np.uint64]:
    """One hash for each image of uint8 [n, height, width, channels]: uint64 [n].

    Equal pixels give equal hashes, whatever the file is called, and different ones as good as never (64 bits).
    """
    one_by_one = (np.ascontiguousarray(pixels[i]) for i in range(len(pixels)))
    digests = [hashlib.blake2b(image.data, digest_size=8).digest() for image in one_by_one]
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)
