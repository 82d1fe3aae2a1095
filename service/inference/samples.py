"""Pictures that a model was unsure of, or that look unfamiliar, kept for somebody to sort: a bounded sample.

Off unless a folder is set. They lie in `FOLDER/MODEL/LABEL/`, by the label that was the most probable. Somebody moves
those that are wrong into the right folder; `sightline fit` reads `FOLDER/MODEL` then like any other photos.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from classifier.card import Card
from classifier.formats import outline
from classifier.images import Pixels, encode_png
from service.inference.timing import Classified
from service.settings import Settings

log = logging.getLogger(__name__)

_HOUR_S = 3600
_MOST_WRITING = 8  # pictures being written at once; others are not kept
_UNFIT = re.compile(r"[/\\\x00-\x1f]|^\.")  # of a folder's name


class _Kept(NamedTuple):
    path: Path
    size: int


class SampleKeeper:
    """Keeps at most so many pictures of an hour, drawn evenly from all that could be, and at most so many bytes.

    The bytes of the folder are counted when it is made; nothing that lies there is removed but pictures of this hour
    that others were drawn instead of. Belongs to the event loop.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._folder = Path(settings.keep_samples)
        self._below = settings.keep_samples_below
        self._per_hour = settings.keep_samples_per_hour
        self._most_bytes = settings.keep_samples_bytes
        self._clock = clock
        self._bytes = sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())
        self._hour = 0
        self._offered = 0  # in this hour
        self._kept: list[_Kept] = []  # of this hour
        self._writing: set[asyncio.Task[None]] = set()

    def of(self, card: Card) -> Samples:
        """What hears of a version's images."""
        return Samples(self, card)

    def is_unsure(self, probability: float) -> bool:
        return probability < self._below

    def offer(self, card: Card, label: str, body: bytes | None, pixels: Pixels) -> None:
        """Keep a picture, or not, as the quotas have it."""
        if (hour := int(self._clock() // _HOUR_S)) != self._hour:
            self._hour, self._offered, self._kept = hour, 0, []
        self._offered += 1
        position = len(self._kept) if len(self._kept) < self._per_hour else random.randrange(self._offered)  # noqa: S311
        if position >= self._per_hour or len(self._writing) >= _MOST_WRITING:
            return
        task = asyncio.get_running_loop().create_task(self._keep(position, card, label, body, pixels))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def written(self) -> None:
        """Wait until everything that was offered is written."""
        await asyncio.gather(*self._writing)

    async def _keep(self, position: int, card: Card, label: str, body: bytes | None, pixels: Pixels) -> None:
        content = encode_png(pixels) if body is None else body
        replaced = self._kept[position] if position < len(self._kept) else None
        if self._bytes - (replaced.size if replaced else 0) + len(content) > self._most_bytes:
            return
        name = f"{self._hour}-{card.version}-{hashlib.sha256(content).hexdigest()[:16]}.{_suffix(content)}"
        kept = _Kept(self._folder / card.name / _UNFIT.sub("_", label) / name, len(content))
        if replaced is None:
            self._kept.append(kept)
        else:
            self._kept[position] = kept
        self._bytes += len(content) - (replaced.size if replaced else 0)
        try:
            await asyncio.to_thread(_write, kept.path, content, replaced.path if replaced else None)
        except OSError as error:
            log.warning("a picture could not be kept in %s (%s)", self._folder, error)


class Samples:
    """Hears of one version's images, and offers those that it was unsure of or that look unfamiliar."""

    def __init__(self, keeper: SampleKeeper, card: Card) -> None:
        self._keeper = keeper
        self._card = card

    def follow(self, body: bytes | None, pixels: Pixels, row: asyncio.Future[Classified]) -> None:
        row.add_done_callback(partial(self._look, body, pixels))

    def _look(self, body: bytes | None, pixels: Pixels, row: asyncio.Future[Classified]) -> None:
        if row.cancelled() or row.exception() is not None:
            return
        image = row.result()
        column = int(image.row.argmax())
        if self._card.is_familiar(image.familiarity) is False or self._keeper.is_unsure(float(image.row[column])):
            self._keeper.offer(self._card, self._card.labels[column], body, pixels)


def _suffix(content: bytes) -> str:
    kind = outline(content).kind.lower()
    return {"jpeg": "jpg"}.get(kind, kind)


def _write(path: Path, content: bytes, replaced: Path | None) -> None:
    """In a thread."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}")
    draft.write_bytes(content)
    draft.replace(path)
    if replaced is not None and replaced != path:
        replaced.unlink(missing_ok=True)
