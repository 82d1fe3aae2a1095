"""Which split an image belongs to. It follows from the image's content and from its near copies alone."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

Digest = bytes  # SHA-256 of a file's content


def position(digest: Digest, seed: int) -> float:
    """A number in [0, 1), even over images, that depends on the content and the seed alone."""
    drawn = hashlib.sha256(seed.to_bytes(8, "big", signed=True) + digest).digest()
    return int.from_bytes(drawn[:7], "big") / (1 << 56)


def assign(
    digests: Sequence[Digest], fractions: Mapping[str, float], seed: int, leaders: Mapping[Digest, Digest] | None = None
) -> list[str]:
    """The split of each image of one class: "train", or one of `fractions`, each a part of [0, 1) in their order.

    Near copies have one of `leaders`, the smallest digest among them, and go where that goes. A group of more images
    than a split's fraction of the class stays in train. Of a group of more than half of the class, and where there
    are fewer groups than splits, each image goes its own way.

    Adding, removing or renaming an image moves no other one but its near copies, where it is their leader, joins two
    groups, or makes one too large. The other exception is a class so small that a part of [0, 1) has no group: then
    the smallest that can be spared, of these the nearest, is taken into that split, until one of its own comes. Every
    split gets one image at least; there must be as many images as splits.
    """
    groups = _groups(digests, leaders or {}, splits=len(fractions) + 1)
    sizes = Counter(groups)
    positions = {group: position(group, seed) for group in sizes}
    by_position = sorted(sizes, key=lambda group: (positions[group], group))
    splits, starts, start = dict.fromkeys(sizes, "train"), {}, 0.0
    for name, fraction in fractions.items():
        starts[name] = start
        for group in by_position:
            if start <= positions[group] < start + fraction and sizes[group] <= max(1, fraction * len(digests)):
                splits[group] = name
        start += fraction
    starts["train"] = start
    for name in (*fractions, "train"):
        if name not in splits.values():
            counts = Counter(splits.values())
            spare = [group for group in by_position if counts[splits[group]] > 1]
            splits[min(spare, key=lambda group: (sizes[group], abs(positions[group] - starts[name])))] = name
    return [splits[group] for group in groups]


def _groups(digests: Sequence[Digest], leaders: Mapping[Digest, Digest], splits: int) -> list[Digest]:
    """For each image the digest that it goes by."""
    led = [leaders.get(digest, digest) for digest in digests]
    sizes = Counter(led)
    kept = [leader if sizes[leader] <= len(digests) / 2 else own for own, leader in zip(digests, led, strict=True)]
    return kept if len({*kept}) >= splits else list(digests)
