"""Data sets: public archives and anybody's own photos, read into splits of uint8 pixels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from classifier.card import InputSpec
from training.datasets.archive import Archive
from training.datasets.cats_vs_dogs import CatsVsDogs
from training.datasets.cifar10 import Cifar10
from training.datasets.dataset import Dataset, Reader, Skipped, Split
from training.datasets.folders import LAYOUT, Folders
from training.datasets.listing import Listing, ListingReader
from training.datasets.sign_mnist import SignMnist
from training.errors import DatasetError
from training.progress import Progress, silent

__all__ = [
    "READERS",
    "CatsVsDogs",
    "Cifar10",
    "Dataset",
    "DatasetError",
    "Folders",
    "Listing",
    "Reader",
    "SignMnist",
    "Skipped",
    "Split",
    "load_dataset",
    "open_listing",
]

READERS: dict[str, ListingReader] = {
    "cats-vs-dogs": CatsVsDogs(train=range(1000), validation=range(1000, 1500), test=range(1500, 2500)),
    "cifar-10": Cifar10(),
    "sign-mnist": SignMnist(),
    "folders": Folders(),
}


def load_dataset(
    path: Path,
    reader: Reader,
    spec: InputSpec,
    *,
    limit: int | None = None,
    folders: Folders = Folders(),
    progress: Progress = silent,
) -> Dataset:
    """Read `path` (a folder or an archive) with `reader` if it knows the layout, else as class folders of images.

    `limit` is the most images a split may have, spread evenly over the classes. `folders` says how class folders are
    read. Raises DatasetError.
    """
    path = path.expanduser()
    for candidate in (folders,) if isinstance(reader, Folders) else (reader, folders):
        if candidate.recognises(path):
            return candidate.load(path, spec, limit=limit, progress=progress)
    if isinstance(reader, Folders):
        raise DatasetError(f"{path}: expected class folders, it holds {_glimpse(path)}; lay photos out as {LAYOUT}")
    raise DatasetError(
        f"{path}: neither the layout of {reader.name} nor class folders; it holds {_glimpse(path)}. "
        f"Fetch {reader.name} with `python -m training fetch {reader.name}`, or lay your own photos out as {LAYOUT}"
    )


@contextmanager
def open_listing(path: Path, reader: ListingReader | None = None) -> Iterator[Listing]:
    """What a folder or archive holds, to be read in the `with` block: as `reader` reads it, or by its layout.

    Class folders are anybody's photos, unless they are the ten of CIFAR-10. Raises DatasetError.
    """
    path = path.expanduser()
    with Archive(path) as archive:
        chosen = reader if reader and reader.recognises(path) else _by_layout(path)
        listing = chosen.listing(archive)
        if not listing.images:
            raise DatasetError(f"{path}: {listing.refused or f'expected images in class folders; {_glimpse(path)}'}")
        yield listing


def _by_layout(path: Path) -> ListingReader:
    for name in ("cifar-10", "folders", "sign-mnist", "cats-vs-dogs"):
        if READERS[name].recognises(path):
            return READERS[name]
    return READERS["folders"]


def _glimpse(path: Path) -> str:
    """The first few names, for a person who gave the wrong path. Raises DatasetError where nothing can be opened."""
    with Archive(path) as archive:
        shown = ", ".join(archive.names[:3])
        return f"{len(archive.names):,} files ({shown}, …)" if archive.names else "no files"
