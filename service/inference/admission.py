"""Admission control: of one served version, at most so many images are being decoded or wait.

Belongs to one event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from service.errors import TryLater


class Queue(Protocol):
    """What images wait in once they are decoded."""

    def check_room(self, items: int, coming: int = 0) -> None:
        """Raise TryLater unless `items` more may wait beside those that are `coming`."""


class Admission:
    """Counts images from their admission until they are queued, so that none is decoded for which there is no room.

    `refused` is called with the number of images that were not admitted.
    """

    def __init__(self, queue: Queue, refused: Callable[[int], None]) -> None:
        self._queue = queue
        self._refused = refused
        self._tokens: set[object] = set()

    @property
    def images(self) -> int:
        """Images that were admitted and are not queued yet."""
        return len(self._tokens)

    def check(self, images: int) -> None:
        """Raise QueueFull, or Closing, unless there is room for so many more."""
        try:
            self._queue.check_room(images, coming=len(self._tokens))
        except TryLater:
            self._refused(images)
            raise

    def admit(self, images: int) -> list[object]:
        """Take room for so many images: a token for each. Raises as `check` does."""
        self.check(images)
        tokens = [object() for _ in range(images)]
        self._tokens.update(tokens)
        return tokens

    def end(self, token: object) -> None:
        """The image is queued, or will never be. Ending again does nothing."""
        self._tokens.discard(token)

    def block(self, images: int) -> _Block:
        """A block that works on so many images and gives it their tokens; they end with it at the latest."""
        return _Block(self, images)


class _Block:
    __slots__ = ("_admission", "_images", "_tokens")

    def __init__(self, admission: Admission, images: int) -> None:
        self._admission = admission
        self._images = images

    def __enter__(self) -> list[object]:
        self._tokens = self._admission.admit(self._images)
        return self._tokens

    def __exit__(self, *_: object) -> None:
        for token in self._tokens:  # also when the work never began
            self._admission.end(token)
