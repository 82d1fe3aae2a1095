"""What the checks look at. The costly parts are made when the first check asks for them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from training.checking.classes.features import Asked, Extractor, extractor, features_of
from training.checking.classes.folds import FOLDS, HeldOut, held_out
from training.checking.files.sight import Sight
from training.checking.pictures import Pictures
from training.datasets.dataset import Skipped
from training.datasets.listing import Listing
from training.datasets.near_copies import Pairs
from training.progress import Progress, silent


@dataclass(frozen=True)
class Evidence:
    """The pictures, which of them are the same or nearly so, what was seen of each, and what could not be read.

    `sights` is None where the pictures were decoded before, so that nothing is known of their files. `left_out` are
    files that are no images of the data set. `refused` says why a fit would not take the data. With a `listing`, the
    pictures can be read again for the features that are `asked` for.
    """

    pictures: Pictures
    pairs: Pairs
    sights: tuple[Sight, ...] | None = None
    unreadable: tuple[Skipped, ...] = ()
    left_out: tuple[Skipped, ...] = ()
    warnings: tuple[str, ...] = ()
    refused: str | None = None
    progress: Progress = silent
    listing: Listing | None = None
    asked: Asked = "none"

    @cached_property
    def class_sizes(self) -> npt.NDArray[np.int64]:
        """Images of each class, int64 [classes]."""
        return np.bincount(self.pictures.labels, minlength=len(self.pictures.classes))

    def formats_of(self, label: int) -> str:
        """The formats of a class's files with their numbers, as `JPEG 40, PNG 2`."""
        pairs = zip(self.sights or (), self.pictures.labels, strict=False)
        counts = Counter(sight.format for sight, own in pairs if own == label)
        return ", ".join(f"{name} {count:,}" for name, count in counts.most_common())

    @cached_property
    def extractor(self) -> Extractor | None:
        """What makes features; None where none are asked for, or the pictures cannot be read again."""
        if self.listing is None or not self.sights:
            return None
        return extractor(self.asked, max(max(sight.width, sight.height) for sight in self.sights))

    @property
    def feature_name(self) -> str | None:
        """What the features are called that labels are judged by."""
        return self.extractor.name if self.extractor else None

    @cached_property
    def features(self) -> npt.NDArray[Any] | None:
        """The features of all pictures, float32 [n, k]."""
        if self.extractor is None or self.listing is None:
            return None
        return features_of(self.listing, self.pictures.listed.tolist(), self.extractor, self.progress)

    @cached_property
    def held_out(self) -> HeldOut | None:
        """What a classifier on the features says of each image that it was not fitted on; None of one class."""
        if self.features is None or len(np.unique(self.pictures.labels)) < 2 or len(self.pictures) < 2 * FOLDS:
            return None
        self.progress("comparing labels", 0, 1)
        found = held_out(self.features, self.pictures.labels, len(self.pictures.classes))
        self.progress("comparing labels", 1, 1)
        return found
