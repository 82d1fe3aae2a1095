"""Where the images of a job come from: a folder, a list of paths, a zip or tar archive, or an fsspec address.

Each names its images in an order that does not change from run to run, one at a time, so that memory does not grow
with their number. What lies in files of its own is read by the decode processes, an archive by this one.
"""

from __future__ import annotations

import os
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Protocol, TextIO

from classifier.errors import SightlineError
from classifier.formats.files import image_names_below, is_image_file

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
STDIN = "-"


class UnusableInput(SightlineError):
    """What was given is no folder, list, archive or address that can be read, or has no images."""

    status = 422
    code = "unusable-input"
    title = "The input has no images that can be read"


class Reader(Protocol):
    """Reads an image by its name. Copied to the decode processes."""

    def __call__(self, name: str) -> bytes:
        """The bytes. Raises OSError."""


class Item(NamedTuple):
    """An image. `load` reads it from an archive, which has to be done before the next item is asked for."""

    name: str
    load: Callable[[], bytes] | None = None


class Source(Protocol):
    """Images in a fixed order."""

    read: Reader

    def items(self) -> Iterator[Item]:
        """All images from the first on, by names relative to the input. Raises UnusableInput."""

    def count(self) -> int | None:
        """How many there are; None where that takes as long as to read them."""


class FileReader(NamedTuple):
    """Reads files below a folder."""

    folder: str

    def __call__(self, name: str) -> bytes:
        # Not by pathlib, which takes as long as the file: docs/tuning.md#paths-of-bulk-scoring
        with open(os.path.join(self.folder, name), "rb") as file:  # noqa: PTH118, PTH123
            return file.read()


class Folder:
    """The files with an image's suffix at any depth, but nothing hidden. A folder's files come before its folders."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.read: Reader = FileReader(str(folder))

    def items(self) -> Iterator[Item]:
        yield from map(Item, image_names_below(self._folder))

    def count(self) -> int | None:
        return sum(1 for _ in self.items())


class PathList:
    """The paths in a text file, one in a line, as they stand there. A relative one belongs to the list's folder."""

    def __init__(self, listing: Path) -> None:
        self._listing = listing
        self.read: Reader = FileReader(str(listing.parent))

    def items(self) -> Iterator[Item]:
        with self._listing.open(encoding="utf-8", errors="surrogateescape") as lines:
            yield from _named(lines)

    def count(self) -> int | None:
        return sum(1 for _ in self.items())


class StandardInput:
    """The paths on stdin, one in a line."""

    def __init__(self, lines: TextIO) -> None:
        self._lines = lines
        self.read: Reader = FileReader("")

    def items(self) -> Iterator[Item]:
        return _named(self._lines)

    def count(self) -> int | None:
        return None


class Zip:
    """The images in a zip archive, in the order of their names."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.read: Reader = FileReader("")

    def items(self) -> Iterator[Item]:
        with _archive(self._path, zipfile.ZipFile) as archive:
            names = sorted(name for name in archive.namelist() if _is_image(name))
            for name in names:
                yield Item(name, partial(_load, archive.read, name))

    def count(self) -> int | None:
        with _archive(self._path, zipfile.ZipFile) as archive:
            return sum(map(_is_image, archive.namelist()))


class Tar:
    """The images in a tar archive, compressed or not, in the order in which they lie there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.read: Reader = FileReader("")

    def items(self) -> Iterator[Item]:
        with _archive(self._path, tarfile.open) as archive:
            for member in archive:
                archive.members = []  # it would keep one for each
                if member.isfile() and _is_image(member.name):
                    yield Item(member.name, partial(_load, lambda member: archive.extractfile(member).read(), member))

    def count(self) -> int | None:
        return None


class AddressReader(NamedTuple):
    """Reads files below an fsspec address."""

    root: str

    def __call__(self, name: str) -> bytes:
        files, root = _filesystem(self.root)
        content: bytes = files.cat_file(f"{root}/{name}")
        return content


class Address:
    """The images below an address that fsspec knows, as `s3://bucket/folder`, in the order of their names."""

    def __init__(self, root: str) -> None:
        self._root = root
        self.read: Reader = AddressReader(root)

    def items(self) -> Iterator[Item]:
        files, root = _filesystem(self._root)
        for parent, folders, names in files.walk(root):
            folders.sort()
            for name in sorted(filter(is_image_file, names)):
                yield Item(str(PurePosixPath(parent, name).relative_to(PurePosixPath(root))))

    def count(self) -> int | None:
        return None


def source_of(text: str, stdin: TextIO | None = None) -> Source:
    """What INPUT names. Raises UnusableInput."""
    if text == STDIN:
        return StandardInput(stdin or sys.stdin)
    if "://" in text:
        return Address(text)
    path = Path(text).expanduser()
    if path.is_dir():
        return Folder(path)
    if not path.is_file():
        raise UnusableInput(f"{text}: there is no such file or folder")
    if path.suffix.lower() == ".zip":
        return Zip(path)
    if path.name.lower().endswith(TAR_SUFFIXES):
        return Tar(path)
    if is_image_file(path.name):
        raise UnusableInput(f"{text} is one image; `sightline predict` classifies it")
    return PathList(path)


def _named(lines: Iterable[str]) -> Iterator[Item]:
    for line in lines:
        if name := line.rstrip("\r\n"):
            yield Item(name)


def _is_image(name: str) -> bool:
    """Whether an archive's entry is one; what macOS puts beside a file is none."""
    return is_image_file(name.rsplit("/", 1)[-1]) and not name.startswith("__MACOSX/")


def _load(read: Callable[[Any], bytes], what: Any) -> bytes:
    """Read from an archive; whatever is wrong with it there is an OSError."""
    try:
        return read(what)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise OSError(f"damaged in the archive: {error}") from error


def _archive(path: Path, opened: Callable[[Path], Any]) -> Any:
    try:
        return opened(path)
    except (OSError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise UnusableInput(f"{path}: not an archive that can be read ({error})") from error


def _filesystem(root: str) -> tuple[Any, str]:
    """The file system, which fsspec keeps for the next call, and the path in it."""
    import fsspec

    try:
        files, path = fsspec.core.url_to_fs(root)
    except ImportError as missing:
        raise UnusableInput(f'{root}: {missing}; `pip install "sightline[cloud]"` brings s3:// and gs://') from missing
    except ValueError as error:
        raise UnusableInput(f"{root}: {error}") from error
    return files, str(path).rstrip("/")
