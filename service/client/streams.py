"""What the streams of both clients share: their limits, and what happens to each answer on its way out."""

from __future__ import annotations

import os
from typing import Literal

from service.client.errors import ClientError
from service.client.groups import Outcome
from service.client.progress import Progress
from service.client.results import Answered
from service.client.sources import ImageLike

# Requests at once. In groups of 8 they keep several batches of 16 at the server and a quarter of its queue.
CONCURRENCY = 8

# Requests that are under way, and as many images again from which the next ones are taken without a wait. Answers are
# given in order, so behind a slow image no more than these are taken.
AHEAD = 2

OnError = Literal["return", "raise"]


def check(concurrency: int, max_connections: int, images_per_request: int, on_error: str) -> None:
    """Raise ValueError for arguments that cannot work."""
    if not 1 <= concurrency <= max_connections:
        raise ValueError(f"concurrency must be from 1 to max_connections={max_connections}, not {concurrency}")
    if images_per_request < 1:
        raise ValueError(f"images_per_request must be 1 or more, not {images_per_request}")
    if on_error not in ("return", "raise"):
        raise ValueError(f"on_error must be 'return' or 'raise', not {on_error!r}")


def passed(image: ImageLike, outcome: Outcome, on_error: OnError, progress: Progress) -> Answered:
    """Count an answer and let it pass, unless it is an error and errors are to be raised."""
    if isinstance(outcome, BaseException) and not isinstance(outcome, ClientError):
        raise outcome
    progress.count(failed=isinstance(outcome, ClientError))
    if isinstance(outcome, ClientError) and on_error == "raise":
        if isinstance(image, str | os.PathLike):
            outcome.add_note(f"image: {os.fspath(image)}")
        raise outcome
    return Answered(image, outcome)
