"""The model store: `models/NAME/VERSION/`, whole-number versions, newest complete one first.

A version is complete when it holds `card.json`. It is filled in a hidden folder of the store and renamed into its
place, so a reader sees all of a version or none of it. Names and versions that come from outside are looked up in a
listing of the folder and never become part of a path by themselves.
"""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from classifier.card import NAME_PATTERN, Card, FileRecord, read_card, write_card
from classifier.errors import BrokenModel, UnknownModel

CARD = "card.json"
KERAS = "model.keras"
ONNX = "model.onnx"
SAMPLE = "sample.png"
HISTORY = "history.csv"

REQUIRED = (KERAS, ONNX, SAMPLE)
HASHED = (*REQUIRED, HISTORY)  # pictures may be drawn anew without making another version

_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_NAME = re.compile(NAME_PATTERN)


class ModelStore:
    """The trained artefacts below one folder. Holds no state: what it says is what is on disk now."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def versions(self) -> dict[str, tuple[int, ...]]:
        """Names of all models that have a complete version, and those versions ascending."""
        if not self.root.is_dir():
            return {}
        homes = sorted(p for p in self.root.iterdir() if p.is_dir() and _NAME.fullmatch(p.name))
        found = {home.name: _complete_versions(home) for home in homes}
        return {name: versions for name, versions in found.items() if versions}

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
        if folder.resolve() != self.root.resolve() / name / folder.name or (folder / CARD).is_symlink():
            raise BrokenModel(f"{folder}: a version and its card lie in the store itself, and are no links")
        card = read_card(folder / CARD)
        if (card.name, card.version) != (name, int(folder.name)):
            raise BrokenModel(f"{folder}: the card is that of {card.name} version {card.version}; was it copied here?")
        return card

    def verify(self, name: str, version: int | None = None) -> Card:
        """Compare every file with the card. Raises BrokenModel naming the first that is missing or differs."""
        card = self.card(name, version)
        folder = self.folder(name, card.version)
        if missing := [file for file in REQUIRED if file not in card.files]:
            raise BrokenModel(f"{folder}: the card has no hash for {', '.join(missing)}")
        for file, record in card.files.items():
            _compare(folder, file, record)
        return card

    def read(self, card: Card, file: str) -> bytes:
        """One of a version's files, held to its card once it is in memory, so that what is used is what was hashed.

        Raises BrokenModel.
        """
        path, record = self.root / card.name / str(card.version) / file, card.files[file]
        try:
            with path.open("rb") as opened:
                body = opened.read(record.bytes + 1)
        except OSError as error:
            raise BrokenModel(f"{path}: cannot be read ({error.strerror})") from error
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
    numbered = (p for p in home.iterdir() if _VERSION.fullmatch(p.name) and (p / CARD).is_file())
    return tuple(sorted(int(p.name) for p in numbered))


def _publish(draft: Path, card: Card, home: Path) -> Card:
    if missing := [file for file in REQUIRED if not (draft / file).is_file()]:
        raise BrokenModel(f"a version needs {', '.join(REQUIRED)}; {', '.join(missing)} was not written")
    files = {file: file_record(draft / file) for file in HASHED if (draft / file).is_file()}
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


def file_record(path: Path) -> FileRecord:
    with path.open("rb") as file:
        return FileRecord(sha256=hashlib.file_digest(file, "sha256").hexdigest(), bytes=path.stat().st_size)


def _compare(folder: Path, file: str, record: FileRecord) -> None:
    path = folder / file
    if Path(file).name != file or path.is_symlink():
        raise BrokenModel(f"{path}: a version's files lie in its own folder, and are no links")
    if not path.is_file():
        raise BrokenModel(f"{path}: the card names this file, but it is not there")
    try:
        found = file_record(path)
    except OSError as error:
        raise BrokenModel(f"{path}: cannot be read ({error.strerror})") from error
    if found != record:
        raise _differs(path)


def _differs(path: Path) -> BrokenModel:
    return BrokenModel(f"{path}: its SHA-256 is not the card's; restore the file or save the version anew")
