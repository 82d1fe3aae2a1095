"""Which split an image belongs to. It follows from the image's content, so no other image moves it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

Digest = bytes  # SHA-256 of a file's content


def position(digest: Digest, seed: int) -> float:
    """A number in [0, 1), even over images, that depends on the content and the seed alone."""
    drawn = hashlib.sha256(seed.to_bytes(8, "big", signed=True) + digest).digest()
    return int.from_bytes(drawn[:7], "big") / (1 << 56)


def assign(digests: Sequence[Digest], fractions: Mapping[str, float], seed: int) -> list[str]:
    """The split of each image of one class: "train", or one of `fractions`, each a part of [0, 1) in their order.

    Adding, removing or renaming an image moves no other one. The exception is a class so small that a part of
    [0, 1) has no image: then the nearest image that can be spared is taken into that split, until an image of its own
    comes. Every split gets one image at least; there must be as many images as splits.
    """
    positions = [position(digest, seed) for digest in digests]
    by_position = sorted(range(len(digests)), key=lambda i: (positions[i], digests[i]))
    splits, starts, start = ["train"] * len(digests), {}, 0.0
    for name, fraction in fractions.items():
        starts[name] = start
        for i in by_position:
            if start <= positions[i] < start + fraction:
                splits[i] = name
        start += fraction
    starts["train"] = start
    for name in (*fractions, "train"):
        if name not in splits:
            spare = [i for i in by_position if splits.count(splits[i]) > 1]
            splits[min(spare, key=lambda i: abs(positions[i] - starts[name]))] = name
    return splits
