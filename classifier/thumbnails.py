"""JPEG files of just the size that a network takes, decoded in a few microseconds.

Nothing is to be scaled or turned then, and what Pillow spends on a file of 30x30 pixels is Python: 56 us for a 32x32
picture where libjpeg-turbo, asked by simplejpeg, takes 9 (2 processors, best of 20 x 40 pictures). Both libraries hold
the same decoder with the same defaults, so the pixels are the same; whatever is not plain is left to Pillow.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import simplejpeg

from classifier.card import InputSpec

_PLAIN = ("Gray", "YCbCr")  # others Pillow converts by rules of its own
_MAY_TURN = (b"Exif\0\0", b"http://ns.adobe.com/xap/")  # the metadata that can hold an orientation


def of_this_size(body: bytes, spec: InputSpec) -> npt.NDArray[np.uint8] | None:
    """The pixels of a JPEG, uint8 (spec.height, spec.width, spec.channels), or None where Pillow is to be asked.

    That is for any other size or colour space, for metadata that may turn the picture, and for the least damage.
    """
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(body)
        if (height, width) != (spec.height, spec.width) or colours not in _PLAIN or _may_turn(body):
            return None
        pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(body, "GRAY" if spec.channels == 1 else "RGB")
    except ValueError:  # what libjpeg warns of, too
        return None
    return pixels


def _may_turn(body: bytes) -> bool:
    return any(mark in body for mark in _MAY_TURN)
