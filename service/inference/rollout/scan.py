"""What lies in the models folder now, and whether that has changed, without reading all of it."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import NamedTuple

from classifier import rollout_file, store
from classifier.card import Card, read_card
from classifier.errors import RolloutFileError, SightlineError
from classifier.rollout_file import Rollout
from classifier.store import ModelStore

log = logging.getLogger(__name__)

# Name, time of the last change in nanoseconds, bytes and inode of each file, links followed: Kubernetes changes a
# volume's files by pointing a link elsewhere, and the clocks of network volumes may stand still for a second.
Fingerprint = tuple[tuple[str, int, int, int], ...]


class Version(NamedTuple):
    """A version's folder. `lacks` says what keeps it from being complete, by the sizes on its card; "" for nothing."""

    fingerprint: Fingerprint
    lacks: str


class Scan(NamedTuple):
    """Every version by model name and number, and the roll-out file or what is wrong with it."""

    versions: dict[str, dict[int, Version]]
    rollout: Rollout | None
    fault: str


def scan(models: Path) -> Scan:
    """Look at the models folder. Blocks, so it belongs into a thread."""
    known = ModelStore(models).versions()
    versions = {
        name: {number: _version(models / name / str(number)) for number in numbers} for name, numbers in known.items()
    }
    _name_what_is_ignored(models, known)
    try:
        rollout = rollout_file.read(models)
        rollout_file.check_versions(rollout, known)
    except RolloutFileError as error:
        return Scan(versions, None, str(error))
    return Scan(versions, rollout, "")


def fingerprint(folder: Path) -> Fingerprint:
    """Changes with every file that comes, goes or is written. Files that cannot be looked at are left out."""
    found = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        try:
            seen = entry.stat()
        except OSError:
            continue
        if stat.S_ISREG(seen.st_mode):
            found.append((entry.name, seen.st_mtime_ns, seen.st_size, seen.st_ino))
    return tuple(found)


def same_network(one: Card, other: Card) -> bool:
    """Whether two cards of a version are of the same files and promise the same answers; the rest may differ."""
    parts = ("files", "labels", "input", "sample", "checks")
    return all(getattr(one, part) == getattr(other, part) for part in parts)


def _version(folder: Path) -> Version:
    try:
        seen = fingerprint(folder)
        card = read_card(folder / store.CARD)
    except OSError as error:
        return Version((), f"it cannot be read ({error.strerror})")
    except SightlineError as error:
        return Version(seen, str(error))
    sizes = {name: size for name, _, size, _ in seen}
    for file, record in card.files.items():
        if file == store.KERAS and file not in sizes:
            continue  # only TensorFlow reads it
        if sizes.get(file) != record.bytes:
            return Version(seen, f"{file} has {sizes.get(file, 0):,} bytes, and its card says {record.bytes:,}")
    return Version(seen, "")


def _name_what_is_ignored(models: Path, known: dict[str, tuple[int, ...]]) -> None:
    if not log.isEnabledFor(logging.DEBUG):
        return
    for home in sorted(path for path in models.iterdir() if path.is_dir()):
        if home.name not in known:
            log.debug("%s is ignored: no model with a complete version", home.name)
            continue
        for folder in sorted(path for path in home.iterdir() if path.is_dir()):
            if folder.name not in map(str, known[home.name]):
                log.debug("%s/%s is ignored: no complete version", home.name, folder.name)
