"""The files' contents: read once for their hashes, from which copies and contradictions are known."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from training.datasets.archive import Archive
from training.datasets.dataset import Skipped
from training.datasets.folders.assignment import Digest
from training.errors import DatasetError
from training.progress import Progress

SHOWN = 10  # contradictions that an error names
EMPTY = "the file is empty"

_STAYS_IN = ("test", "validation", "train", "all")  # a copy is kept in the first of these


class PlacedFile(NamedTuple):
    """An image file, the split its folder stands for ("all" where the layout has none), and its label."""

    name: str
    split: str
    label: str


def read_digests(
    archive: Archive, files: Sequence[PlacedFile], progress: Progress
) -> tuple[dict[str, Digest], list[Skipped]]:
    """SHA-256 by file name, and the files that cannot be read, with the reason."""
    digests, unreadable = {}, []

    def digest(file: PlacedFile) -> Digest | str:
        try:
            content = archive.read(file.name)
        except DatasetError as error:
            return str(error).removeprefix(f"{archive.path}: {file.name} ")
        return hashlib.sha256(content).digest() if content else EMPTY  # empty files are no copies of one image

    with ThreadPoolExecutor(4) as pool:  # waits for the disk, mostly
        for done, (file, found) in enumerate(zip(files, pool.map(digest, files), strict=True), start=1):
            if isinstance(found, bytes):
                digests[file.name] = found
            else:
                unreadable.append(Skipped(file.name, found))
            progress("reading files", done, len(files))
    return digests, unreadable


def without_repetitions(
    files: Sequence[PlacedFile], digests: Mapping[str, Digest], drop_conflicts: bool
) -> tuple[list[PlacedFile], list[Skipped]]:
    """Each image once, in the order of their contents, and the files left out.

    Of byte-identical files one is kept, in test rather than in validation, there rather than in train. One image under
    two labels raises DatasetError; with `drop_conflicts` all its files are left out instead.
    """
    alike: dict[Digest, list[PlacedFile]] = defaultdict(list)
    for file in sorted(files, key=lambda file: (_STAYS_IN.index(file.split), file.name)):
        alike[digests[file.name]].append(file)
    contradicting = {digest: group for digest, group in alike.items() if len({file.label for file in group}) > 1}
    if contradicting and not drop_conflicts:
        raise DatasetError(_contradictions(list(contradicting.values())))
    left_out = [Skipped(file.name, _two_labels(group)) for group in contradicting.values() for file in group]
    kept = []
    for digest in sorted(alike.keys() - contradicting.keys()):
        first, *copies = alike[digest]
        kept.append(first)
        left_out += [Skipped(copy.name, f"a copy, byte for byte, of {first.name}") for copy in copies]
    return kept, sorted(left_out)


def _two_labels(group: Sequence[PlacedFile]) -> str:
    labels = sorted({file.label for file in group})
    return f"the same image lies under {' and '.join(labels)}"


def _contradictions(groups: Sequence[Sequence[PlacedFile]]) -> str:
    named = sorted(" = ".join(sorted(file.name for file in group)) for group in groups)
    more = f" and {len(named) - SHOWN:,} more" if len(named) > SHOWN else ""
    count = f"{len(named):,} images lie" if len(named) > 1 else "one image lies"
    return (
        f"{count} under two labels: {'; '.join(named[:SHOWN])}{more}. Remove the wrong files, "
        "or leave all of them out with --drop-conflicts"
    )
