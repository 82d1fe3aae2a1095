"""What all pictures of a data set show, as columns: what every check looks at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.checking.files.reading import Unreadable, read_all
from training.checking.files.sight import FIGURES, Sight, shown
from training.datasets.content import content_hashes
from training.datasets.dataset import Dataset
from training.datasets.listing import Digests, Leaders, Listing, as_they_lie
from training.datasets.near_copies import SIDE, Pairs, are_flat, find_pairs, leaders, shrunk
from training.errors import DatasetError
from training.progress import Counted, Progress, silent


@dataclass(frozen=True)
class Pictures:
    """The pictures that can be read, n of them, and what is known of each.

    `names` are files or rows. `splits` and `labels` (columns of `classes`) say where each belongs. `contents` are
    hashes of pixels, uint64 [n]; `grey` is uint8 [n, SIDE, SIDE]; `figures` float32 [n, FIGURES], NaN where unknown.
    `listed` are their indices in the listing that they were read from.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    splits: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    contents: npt.NDArray[np.uint64]
    grey: npt.NDArray[np.uint8]
    figures: npt.NDArray[np.float32]
    listed: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)

    def label(self, i: int) -> str:
        """The label of one picture."""
        return self.classes[int(self.labels[i])]

    @property
    def flat(self) -> npt.NDArray[np.bool_]:
        """Which pictures are of one colour, bool [n]."""
        return are_flat(self.grey)

    @property
    def split_counts(self) -> dict[str, int]:
        """Images by split, in the order in which a fit uses them."""
        counts = Counter(self.splits)
        return {split: counts[split] for split in ("train", "validation", "test", "all") if split in counts}


@dataclass(frozen=True)
class Read:
    """What came of reading a listing: the pictures, which are alike, what was seen of each, and what was not read.

    `refused` says why a fit would not take them; None where it would.
    """

    pictures: Pictures
    pairs: Pairs
    sights: tuple[Sight, ...]  # without their grey pictures, which `pictures` has
    unreadable: dict[str, str]
    refused: str | None


def read_pictures(listing: Listing, progress: Progress = silent) -> Read:
    """Read every image of a listing once, and deal them to their splits."""
    unreadable: dict[str, str] = {}
    sights: dict[int, Sight] = {}
    grey = np.empty((len(listing), SIDE, SIDE), np.uint8)
    for i, found in enumerate(read_all(listing, progress)):
        if isinstance(found, Unreadable):
            unreadable[listing.images[i].name] = found.reason
        else:
            grey[len(sights)] = found.grey
            sights[i] = found._replace(grey=grey[len(sights)])
    contents = np.array([sight.content for sight in sights.values()], np.uint64)
    pairs = find_pairs(contents, grey[: len(sights)], progress)
    digests = {i: sight.digest for i, sight in sights.items()}
    splits, refused = _dealt(listing, digests, leaders(pairs, [*digests.values()]))
    images = [listing.images[i] for i in sights]
    pictures = Pictures(
        listing.labels,
        tuple(image.name for image in images),
        tuple(splits[i] for i in sights),
        np.array([image.label for image in images], np.int64),
        contents,
        grey[: len(sights)],
        _stacked(sight.figures for sight in sights.values()),
        np.array([*sights], np.int64),
    )
    return Read(pictures, pairs, tuple(sights.values()), unreadable, listing.refused or refused)


def _dealt(listing: Listing, digests: Digests, near_copies: Leaders) -> tuple[list[str], str | None]:
    """The split of each image, and why they cannot be dealt: then each stays where it lies."""
    try:
        return listing.deal(listing.images, digests, near_copies), None
    except DatasetError as error:
        return as_they_lie(listing.images, digests, near_copies), str(error)


def pictures_of(dataset: Dataset, progress: Progress = silent) -> Pictures:
    """The same of a data set that is decoded already, from the pixels that a network takes.

    Sizes, bytes and formats of the files are not known then. A file without a name is called by split and number.
    """
    total = sum(len(split) for split in dataset.splits.values())
    counted = Counted(progress, "checking the data", total)
    grey = np.empty((total, SIDE, SIDE), np.uint8)
    names: list[str] = []
    splits: list[str] = []
    figures: list[Sequence[float]] = []
    for name, split in dataset.splits.items():
        for i in range(len(split)):
            pixels = split.pixels[i]
            small, as_grey = shrunk(pixels)
            grey[len(names)] = np.rint(as_grey)
            figures.append([np.nan] * 3 + shown(pixels, small, as_grey))
            names.append(split.files[i] if split.files else f"{name}:{i}")
            counted.add(1)
        splits += [name] * len(split)
    return Pictures(
        dataset.labels,
        tuple(names),
        tuple(splits),
        np.concatenate([split.labels for split in dataset.splits.values()]),
        np.concatenate([content_hashes(split.pixels) for split in dataset.splits.values()]),
        grey,
        _stacked(np.array(row, np.float32) for row in figures),
        np.arange(total),
    )


def _stacked(rows: Iterable[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """float32 [n, FIGURES], also of none."""
    return np.array([*rows], np.float32).reshape(-1, len(FIGURES))
