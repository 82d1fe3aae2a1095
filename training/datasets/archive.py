"""A folder, a zip or a tar behind one face: the names of its files and their bytes.

Data sets are read where they lie, packed or unpacked. Names are POSIX paths relative to the top of the archive. They
are sorted, so that the order of images does not depend on the packing.
"""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Protocol

from training.datasets.dataset import Skipped, printable
from training.errors import DatasetError

# What operating systems, network drives and archivers leave behind, in lower case; hidden files are another matter.
_LEFTOVERS = {
    "__macosx",
    "@eadir",
    "#recycle",
    "$recycle.bin",
    "lost+found",
    "system volume information",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
}

ONE_FOLDER_ON_TOP = r"(?:[^/]+/)?"  # for the readers' patterns: zips are often made of the folder, not of its content

# RuntimeError is zipfile's word for an encrypted member, and NotImplementedError for a method Python cannot unpack.
_UNREADABLE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)


class _Store(Protocol):
    """Names (a folder's ends in `/`) to bytes; the kinds differ in nothing else. `read` is safe in several threads.

    `left_out` is complete once all names were taken.
    """

    left_out: list[Skipped]

    def names(self) -> Iterable[str]: ...

    def read(self, name: str) -> bytes: ...


class Archive:
    """The files of a folder, zip or tar at `path`. Use it in a `with` block; `read` is safe in several threads.

    `names` are the files, `folders` (each with a final `/`) those recorded as such; a zip need not record any. Hidden
    files and what systems leave behind (`.DS_Store`, `__MACOSX`, `@eaDir`, `Thumbs.db`) are in neither. Links in a
    folder are followed, also out of it. `left_out` names the links and folders that cannot be, with the reason. Raises
    DatasetError when nothing is there, when it is damaged, or when a packed name leads out of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open_files = ExitStack()
        try:
            self._store = _store(path, self._open_files)
            found = sorted(name for name in self._store.names() if _is_wanted(name))
        except _UNREADABLE as error:
            self._open_files.close()
            raise DatasetError(f"{path}: cannot be opened ({error}); fetch or pack it again") from error
        except DatasetError:
            self._open_files.close()
            raise
        self.names = tuple(name for name in found if not name.endswith("/"))
        self.folders = tuple(name for name in found if name.endswith("/"))
        self.left_out = tuple(self._store.left_out)
        self._known = frozenset(self.names)

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open_files.close()

    def read(self, name: str) -> bytes:
        """The content of one listed file. Raises DatasetError for any other name, and for a damaged member."""
        if name not in self._known:
            raise DatasetError(f"{self.path}: has no file {name!r}")
        try:
            return self._store.read(name)
        except _UNREADABLE as error:
            raise DatasetError(f"{self.path}: {name} cannot be read ({error}); fetch or pack it again") from error


def names_in(path: Path) -> tuple[str, ...]:
    """What `Archive(path).names` lists, or nothing where no archive can be opened: for `recognises`, never raises."""
    try:
        with Archive(path) as archive:
            return archive.names
    except DatasetError:
        return ()


def stem_of(path: Path) -> str:
    """The name of a folder or archive without its packing: `photos.zip` and `photos.tar.gz` are both `photos`.

    What is not UTF-8 in it is escaped: a card could not hold it.
    """
    name = printable(path.resolve().name)
    for ending in (".tar.gz", ".tgz", ".tar", ".zip"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


def _store(path: Path, open_files: ExitStack) -> _Store:
    if path.is_dir():
        return _Folder(path)
    if not path.exists():
        raise DatasetError(f"expected a folder, zip or tar at {path}, nothing is there; see `python -m training fetch`")
    if zipfile.is_zipfile(path):
        return _Zip(open_files.enter_context(zipfile.ZipFile(path)))
    if tarfile.is_tarfile(path):
        return _Tar(open_files.enter_context(_seekable_tar(path, open_files)))
    raise DatasetError(f"{path}: expected a folder, a zip or a tar, this is a file of {path.stat().st_size:,} bytes")


class _Folder:
    def __init__(self, root: Path) -> None:
        self.left_out: list[Skipped] = []
        self._root = root

    def names(self) -> Iterator[str]:
        return self._below(self._root, "", frozenset({_identity(self._root)}))

    def _below(self, folder: Path, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
        """`above` are the folders that lead here: a link back to one of them would never end."""
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            if not prefix:
                raise
            self.left_out.append(Skipped(prefix, f"the folder cannot be opened ({error.strerror})"))
            return
        for entry in entries:
            name = prefix + entry.name
            if not _is_wanted(name):
                continue
            if entry.is_dir():
                yield from self._folder(Path(entry.path), name, above)
            elif entry.is_file():
                yield name
            elif entry.is_symlink():
                self.left_out.append(Skipped(name, "a link that leads nowhere"))

    def _folder(self, folder: Path, name: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
        if (here := _identity(folder)) in above:
            self.left_out.append(Skipped(name, "a link to a folder that it lies in"))
            return
        yield f"{name}/"
        yield from self._below(folder, f"{name}/", above | {here})

    def read(self, name: str) -> bytes:
        return (self._root / name).read_bytes()


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


class _Zip:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.left_out: list[Skipped] = []
        self._archive = archive
        self._members = {_inside(member.filename): member for member in archive.infolist()}
        self._lock = Lock()  # ZipFile counts its open members without one; decoding is the slow part, not reading

    def names(self) -> Iterable[str]:
        return self._members

    def read(self, name: str) -> bytes:
        with self._lock:
            return self._archive.read(self._members[name])


class _Tar:
    def __init__(self, archive: tarfile.TarFile) -> None:
        self.left_out: list[Skipped] = []
        self._archive = archive
        self._members = {_inside(member.name): member for member in archive if member.isfile()}
        self._folders = [f"{_inside(member.name)}/" for member in archive if member.isdir()]
        self._lock = Lock()

    def names(self) -> Iterable[str]:
        return (*self._members, *self._folders)

    def read(self, name: str) -> bytes:
        with self._lock:
            member = self._archive.extractfile(self._members[name])
            return member.read() if member else b""


def _seekable_tar(path: Path, open_files: ExitStack) -> tarfile.TarFile:
    """A compressed tar is unpacked to a nameless temporary file first: gzip goes backwards only from the start."""
    with path.open("rb") as packed:
        if packed.read(2) != b"\x1f\x8b":
            return tarfile.open(path)
    unpacked = open_files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  (open_files closes it)
    with gzip.open(path) as source:
        shutil.copyfileobj(source, unpacked, 1 << 20)
    unpacked.seek(0)
    return tarfile.open(fileobj=unpacked)


def _is_wanted(name: str) -> bool:
    return not any(part.startswith(".") or part.lower() in _LEFTOVERS for part in name.split("/"))


def _inside(name: str) -> str:
    """A member's name with plain slashes, which some Windows programs do not write. Refuses one that leads out."""
    plain = name.replace("\\", "/").removeprefix("./")
    if plain.startswith("/") or ".." in plain.split("/"):
        raise DatasetError(f"the archive's member {name!r} leads out of its folder; this archive is not to be trusted")
    return plain
