"""Image files by their names: those below folders, and those that come while somebody watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from classifier.errors import ImageError
from classifier.formats.files import SUFFIXES, images_below

LOOKED_EVERY_S = 0.5


class NoImages(ImageError):
    """A folder has no image files."""

    code = "no-images"
    title = "The folder has no images"


def each(paths: Sequence[Path]) -> Iterator[Path]:
    """The files, and those below the folders in the order of their names. Raises NoImages for a folder without any."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = list(images_below(path))
        if not found:
            raise NoImages(f"{path} has no images: expected files with {', '.join(SUFFIXES)}")
        yield from found


def arriving(paths: Sequence[Path], sleep: Callable[[float], None] = time.sleep) -> Iterator[Path]:
    """What is there, then, without end, the files that come or change, each once it has stopped growing."""
    given: dict[Path, tuple[int, int]] = {}
    before: dict[Path, tuple[int, int]] | None = None
    while True:
        seen = {path: state for path in _files(paths) if (state := _state(path)) is not None}
        for path, state in seen.items():
            has_settled = before is None or before.get(path) == state
            if has_settled and given.get(path) != state:
                given[path] = state
                yield path
        before = seen
        given = {path: state for path, state in given.items() if path in seen}
        sleep(LOOKED_EVERY_S)


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        yield from images_below(path) if path.is_dir() else [path]


def _state(path: Path) -> tuple[int, int] | None:
    """Size in bytes and time of the last change in nanoseconds; None where the file has gone."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_size, about.st_mtime_ns
