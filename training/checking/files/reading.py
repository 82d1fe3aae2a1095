"""Every picture of a listing, read once by all processors, with bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from classifier.engines.processors import usable_processors
from classifier.errors import SightlineError
from training.checking.files.sight import Sight, look_at
from training.datasets.listing import Listing
from training.progress import Counted, Progress

AT_ONCE = 64  # pictures for each task of a thread


class Unreadable(NamedTuple):
    """Why nothing can be seen of a file, in the words of its reader."""

    reason: str


def read_all(listing: Listing, progress: Progress) -> Iterator[Sight | Unreadable]:
    """What each image of the listing shows, or why it does not, in their order."""
    counted = Counted(progress, "reading images", len(listing))
    starts = range(0, len(listing), AT_ONCE)

    def read_some(start: int) -> Sequence[Sight | Unreadable]:
        return [_read(listing, i) for i in range(start, min(start + AT_ONCE, len(listing)))]

    with ThreadPoolExecutor(usable_processors()) as pool:
        for found in pool.map(read_some, starts):
            yield from found
            counted.add(len(found))


def _read(listing: Listing, i: int) -> Sight | Unreadable:
    try:
        return look_at(listing.read(i))
    except SightlineError as error:
        return Unreadable(str(error))
