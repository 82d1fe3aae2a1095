"""What a data set holds, image by image, in the splits and under the labels that a fit would give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from training.datasets.archive import Archive
from training.datasets.dataset import Reader, Skipped

Body: TypeAlias = bytes | npt.NDArray[np.uint8]  # an encoded file, or raw pixels [h, w] or [h, w, 3]

Digests: TypeAlias = Mapping[int, bytes]  # SHA-256 of the contents, by the image's place in a listing
Leaders: TypeAlias = Mapping[bytes, bytes]  # of the digest of an image with near copies, the smallest of theirs


class Listed(NamedTuple):
    """An image: its file, or its row as `train.csv:12`; its split; and the column of its label.

    The split is "all" where the layout has none and the content decides.
    """

    name: str
    split: str
    label: int


def as_they_lie(images: Sequence[Listed], digests: Digests, leaders: Leaders) -> list[str]:
    """The splits that the layout gives."""
    return [image.split for image in images]


@dataclass(frozen=True)
class Listing:
    """Every image of a data set, and the files that are none, with the reason.

    `read(i)` gives the content of `images[i]` and is safe in several threads. It raises DatasetError for a file that
    cannot be read. `deal` says which split each image goes to once the contents and near copies are known; images that
    are not among the digests stay in their own; it raises DatasetError where a class has too few. `refused` says why a
    fit would not take the data; None where it would.
    """

    name: str
    labels: tuple[str, ...]
    images: tuple[Listed, ...]
    read: Callable[[int], Body]
    left_out: tuple[Skipped, ...] = ()
    warnings: tuple[str, ...] = ()
    refused: str | None = None
    deal: Callable[[Sequence[Listed], Digests, Leaders], list[str]] = as_they_lie

    def __len__(self) -> int:
        return len(self.images)


class ListingReader(Reader, Protocol):
    """A reader that can also say what there is, without decoding it."""

    def listing(self, archive: Archive) -> Listing:
        """The images of an archive whose layout is recognised, which must stay open. Raises DatasetError."""
