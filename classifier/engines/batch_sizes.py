"""The sizes that batches come in. docs/tuning.md#bucket-sizes"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def bucket_size(images: int) -> int:
    """The largest power of two that is not above `images`; 0 of none.

    An engine takes its time to prepare itself for each new size of batch, and keeps what it has prepared. So batches
    come in the sizes that are warm. docs/tuning.md#bucket-sizes
    """
    return 1 << images.bit_length() - 1 if images else 0


def padded(pixels_u8: npt.NDArray[np.uint8], most: int) -> npt.NDArray[np.uint8]:
    """The batch with black pictures after it, up to the next power of two or `most` images, whichever is less."""
    images = len(pixels_u8)
    missing = min(1 << (images - 1).bit_length(), max(images, most)) - images
    return np.concatenate([pixels_u8, np.zeros((missing, *pixels_u8.shape[1:]), np.uint8)]) if missing else pixels_u8


def batch_sizes(most: int) -> tuple[int, ...]:
    """The sizes that batches of up to `most` images come in: buckets, and padded ones too."""
    return tuple(sorted({min(1 << power, most) for power in range(most.bit_length() + 1)}))
