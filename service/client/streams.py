"""What the streams of both clients share: their limits, and what happens to each answer on its way out."""

from __future__ import annotations

import os
from typing import Literal

from service.client.errors import ClientError
from service.client.progress import Progress
from service.client.results import Answered

CONCURRENCY = 16  # a server takes up to 16 images in a batch, and computes one while it collects the next

# Answers are given in order, so a slow image holds up those behind it; this many times `concurrency` may be behind.
AHEAD = 4

OnError = Literal["return", "raise"]


def check(concurrency: int, max_connections: int, on_error: str) -> None:
    """Raise ValueError for arguments that cannot work."""
    if not 1 <= concurrency <= max_connections:
        raise ValueError(f"concurrency must be from 1 to max_connections={max_connections}, not {concurrency}")
    if on_error not in ("return", "raise"):
        raise ValueError(f"on_error must be 'return' or 'raise', not {on_error!r}")


def passed(answered: Answered, on_error: OnError, progress: Progress) -> Answered:
    """Count an answer and let it pass, unless it is an error and errors are to be raised."""
    if not isinstance(answered.result, ClientError):
        progress.count(failed=False)
        return answered
    progress.count(failed=True)
    if on_error == "return":
        return answered
    if isinstance(answered.image, str | os.PathLike):
        answered.result.add_note(f"image: {os.fspath(answered.image)}")
    raise answered.result
