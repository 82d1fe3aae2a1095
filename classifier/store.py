"""The model store: `models/NAME/VERSION/`, whole-number versions, newest complete one first.

A version is complete when it holds `card.json`. It is filled in a hidden folder of the store, which is renamed in the
end. So a reader sees all of a version or none of it. Names and versions that come from outside are looked up in a
listing of the folder. They never become part of a path by themselves.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import BinaryIO

from classifier.card import NAME_PATTERN, Card, FileRecord, Precision, read_card, write_card
from classifier.errors import BrokenModel, FilesDiffer, UnknownModel

CARD = "card.json"
KERAS = "model.keras"
ONNX = "model.onnx"
INT8 = "model.int8.onnx"  # the same network in 8-bit integers; few versions have it
SAMPLE = "sample.png"
HISTORY = "history.csv"
FITTED_ON = "fitted_on.npz"

NETWORKS = (KERAS, ONNX, INT8)
REQUIRED = (KERAS, ONNX, SAMPLE)
HASHED = (*REQUIRED, HISTORY)  # pictures may be drawn anew without making another version


_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_NAME = re.compile(NAME_PATTERN)


class ModelStore:
    """The trained artefacts below one folder. Holds no state: what it says is what is on disk now."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def versions(self) -> dict[str, tuple[int, ...]]:
        """Names of all models that have a complete version, and those versions ascending."""
        found = {home.name: _complete_versions(home) for home in self._homes() if not _why_unreadable(home)}
        return {name: versions for name, versions in found.items() if versions}

    def unreadable(self) -> dict[str, str]:
        """Models whose folder cannot be listed, and the system's reason; they are not among `versions`."""
        reasons = {home.name: _why_unreadable(home) for home in self._homes()}
        return {name: reason for name, reason in reasons.items() if reason}

    def _homes(self) -> list[Path]:
        if not self.root.is_dir():
            return []
        return sorted(p for p in self.root.iterdir() if p.is_dir() and _NAME.fullmatch(p.name))

    def folder(self, name: str, version: int | None = None) -> Path:
        """Where a version lies; the newest when none is named. Raises UnknownModel listing what there is."""
        known = self.versions()
        if name not in known:
            there = ", ".join(known) or f"none yet in {self.root}"
            raise UnknownModel(f"no model {name!r}; there is: {there}")
        if version is None:
            version = known[name][-1]
        if version not in known[name]:
            there = ", ".join(map(str, known[name]))
            raise UnknownModel(f"model {name!r} has no version {version}; there is: {there}")
        return self.root / name / str(version)

    def card(self, name: str, version: int | None = None) -> Card:
        """The card of a version, held to its place. Raises UnknownModel or BrokenModel."""
        folder = self.folder(name, version)
        if not _lies_below(folder / CARD, self.root):
            raise FilesDiffer(f"{folder}: a version and its card lie in the store itself, and are no links")
        card = read_card(folder / CARD)
        if (card.name, card.version) != (name, int(folder.name)):
            raise FilesDiffer(f"{folder}: the card is that of {card.name} version {card.version}; was it copied here?")
        return card

    def verify(self, name: str, version: int | None = None, *, may_lack: Collection[str] = ()) -> Card:
        """Compare every file with the card. Raises BrokenModel naming the first that is missing or differs.

        Files of `may_lack` may be missing, as in an image that leaves out what its engine does not read.
        """
        card = self.card(name, version)
        folder = self.folder(name, card.version)
        if missing := [file for file in REQUIRED if file not in card.files]:
            raise FilesDiffer(f"{folder}: the card has no hash for {', '.join(missing)}")
        for file, record in card.files.items():
            if not (file in may_lack and _is_absent(folder / file)):
                _compare(folder, file, record)
        return card

    def read(self, card: Card, file: str) -> bytes:
        """One of a version's files, held to its card once it is in memory: what is used is what was hashed.

        Raises BrokenModel.
        """
        path, record = self.root / card.name / str(card.version) / file, card.files[file]
        try:
            with path.open("rb") as opened:
                _compare_size(path, opened, record)
                body = opened.read(record.bytes + 1)
        except OSError as error:
            raise FilesDiffer(f"{path}: cannot be read ({error.strerror})") from error
        if hashlib.sha256(body).hexdigest() != record.sha256:
            raise _differs(path)
        return body

    def save(self, name: str, fill: Callable[[Path], Card]) -> Card:
        """Add a version. `fill` writes the files into the folder it is given and returns the card.

        The store sets the card's name, version and file hashes, and returns the card as written. Whatever `fill`
        raises leaves the store as it was.
        """
        if not _NAME.fullmatch(name):
            raise UnknownModel(f"{name!r} cannot name a model: lower-case letters, digits and hyphens, 64 at most")
        self.root.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".draft-{name}-", dir=self.root))
        try:
            card = fill(draft).model_copy(update={"name": name})
            return _publish(draft, card, self.root / name)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def update(self, card: Card) -> None:
        """Put a card in the place of its version's; whoever reads meanwhile sees the one or the other.

        Raises BrokenModel where the version's files are not those that the card names.
        """
        folder = self.folder(card.name, card.version)
        for file, record in card.files.items():
            _compare(folder, file, record)
        draft = folder / f".{CARD}"
        write_card(card, draft)
        draft.replace(folder / CARD)


def _complete_versions(home: Path) -> tuple[int, ...]:
    numbered = (p for p in home.iterdir() if _VERSION.fullmatch(p.name) and _is_complete(p))
    return tuple(sorted(int(p.name) for p in numbered))


def _is_complete(folder: Path) -> bool:
    try:
        return (folder / CARD).is_file()
    except OSError:
        return True  # whoever reads the card says why that cannot be done


def _why_unreadable(home: Path) -> str:
    """The system's word for why a folder cannot be listed; "" where it can."""
    try:
        os.scandir(home).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _is_absent(path: Path) -> bool:
    return not path.exists() and not path.is_symlink()


def _lies_below(path: Path, root: Path) -> bool:
    """Whether a path of the store leads nowhere else, links followed.

    Kubernetes lays a volume's files into a folder whose name begins with `..`. It links to each of them, so that all
    change at once. Such folders do not count.
    """
    try:
        real = path.resolve().relative_to(root.resolve())
    except (ValueError, OSError, RuntimeError):  # elsewhere; or links in a circle
        return False
    return tuple(part for part in real.parts if not part.startswith("..")) == path.relative_to(root).parts


def _publish(draft: Path, card: Card, home: Path) -> Card:
    if missing := [file for file in REQUIRED if not (draft / file).is_file()]:
        raise BrokenModel(f"a version needs {', '.join(REQUIRED)}; {', '.join(missing)} was not written")
    files = {file: file_record(draft / file) for file in (*HASHED, FITTED_ON, INT8) if (draft / file).is_file()}
    draft.chmod(0o755)  # mkdtemp makes it private, but a server may run as another user
    home.mkdir(exist_ok=True)
    version = max(_complete_versions(home), default=0) + 1
    while True:
        card = card.model_copy(update={"version": version, "files": files})
        write_card(card, draft / CARD)
        try:
            draft.rename(home / str(version))
            return card
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
            version += 1  # another writer, or a folder without a card, took this number


def onnx_file(precision: Precision) -> str:
    """The file that holds the ONNX network for a precision; those in floating point share one."""
    return INT8 if precision == "int8" else ONNX


def file_record(path: Path) -> FileRecord:
    with path.open("rb") as file:
        return FileRecord(sha256=hashlib.file_digest(file, "sha256").hexdigest(), bytes=path.stat().st_size)


def _compare(folder: Path, file: str, record: FileRecord) -> None:
    path = folder / file
    if Path(file).name != file or not _lies_below(path, folder.parents[1]):
        raise FilesDiffer(f"{path}: a version's files lie in its own folder, and are no links")
    if not path.is_file():
        raise FilesDiffer(f"{path}: the card names this file, but it is not there")
    try:
        with path.open("rb") as opened:
            _compare_size(path, opened, record)
            if hashlib.file_digest(opened, "sha256").hexdigest() != record.sha256:
                raise _differs(path)
    except OSError as error:
        raise FilesDiffer(f"{path}: cannot be read ({error.strerror})") from error


def _compare_size(path: Path, opened: BinaryIO, record: FileRecord) -> None:
    """Raise FilesDiffer where an open file has another size than the card says, before any more of it is read."""
    size = os.fstat(opened.fileno()).st_size
    if size == record.bytes:
        return
    if opened.read(len(_LFS_POINTER)) == _LFS_POINTER:
        raise FilesDiffer(f"{path}: a pointer of Git LFS in the file's place; fetch the file with `git lfs pull`")
    raise FilesDiffer(f"{path}: it has {size:,} bytes, and the card says {record.bytes:,}; {_REMEDY}")


def _differs(path: Path) -> FilesDiffer:
    return FilesDiffer(f"{path}: its SHA-256 is not the card's; {_REMEDY}")


_REMEDY = "restore the file or save the version anew"
