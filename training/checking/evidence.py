"""What the checks look at. The costly parts are made when the first check asks for them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from training.checking.duplicates.pairs import Pairs, find_pairs
from training.checking.files.sight import Sight
from training.checking.pictures import Pictures
from training.datasets.dataset import Skipped
from training.progress import Progress, silent


@dataclass(frozen=True)
class Evidence:
    """The pictures, what was seen of each, and what could not be read.

    `sights` is None where the pictures were decoded before, so that nothing is known of their files. `left_out` are
    files that are no images of the data set. `refused` says why a fit would not take the data.
    """

    pictures: Pictures
    sights: tuple[Sight, ...] | None = None
    unreadable: tuple[Skipped, ...] = ()
    left_out: tuple[Skipped, ...] = ()
    warnings: tuple[str, ...] = ()
    refused: str | None = None
    progress: Progress = silent

    @cached_property
    def pairs(self) -> Pairs:
        """Pictures that are the same, and nearly the same."""
        return find_pairs(self.pictures, self.progress)
