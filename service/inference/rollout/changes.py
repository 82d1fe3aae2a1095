"""When to look at the models folder again: as the system tells of changes, or every so often."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import watchfiles

log = logging.getLogger(__name__)

POLL_S = 1.0
SETTLE_MS = 100  # of quiet after a change, until it is reported
LATEST_MS = 400  # after which it is reported though others follow
ANYWAY_MS = 10_000  # without a report, since none comes of what another machine changes on a network volume


async def watched(folder: Path, stop: asyncio.Event) -> AsyncIterator[None]:
    """Once for a change or several below a folder, as inotify and its like report them, and every `ANYWAY_MS`.

    Where they cannot watch, it is as `polled`.
    """
    try:
        async for _ in watchfiles.awatch(
            folder,
            watch_filter=None,
            debounce=LATEST_MS,
            step=SETTLE_MS,
            rust_timeout=ANYWAY_MS,
            yield_on_timeout=True,
            stop_event=stop,
            ignore_permission_denied=True,
        ):
            yield
    except (OSError, RuntimeError) as error:  # too many watches, above all
        log.warning("%s cannot be watched (%s); it is looked at every %g s instead", folder.name, error, POLL_S)
    if not stop.is_set():
        async for _ in polled(stop, POLL_S):
            yield


async def polled(stop: asyncio.Event, every_s: float) -> AsyncIterator[None]:
    """Every so often."""
    while not stop.is_set():
        try:
            async with asyncio.timeout(every_s):
                await stop.wait()
        except TimeoutError:
            yield
