"""Files that an operator replaces while the server runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

LOOK_EVERY_S = 1.0

Stamp = tuple[tuple[int, int, int], ...]


async def watch(paths: Sequence[Path], changed: Callable[[], None], every_s: float = LOOK_EVERY_S) -> None:
    """Call `changed` in the running loop whenever one of the files is another than before, as long as this runs.

    Links are followed, as those by which Kubernetes replaces a Secret. Files are looked at in a thread, for the folder
    may be on a network.
    """
    before = await asyncio.to_thread(_stamp, paths)
    while True:
        await asyncio.sleep(every_s)
        now = await asyncio.to_thread(_stamp, paths)
        if now != before:
            before = now
            changed()


def _stamp(paths: Sequence[Path]) -> Stamp:
    """What differs once a file was written or replaced; of one that is not there, zeros."""
    found = []
    for path in paths:
        try:
            status = path.stat()
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
        except OSError:
            found.append((0, 0, 0))
    return tuple(found)
