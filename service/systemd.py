"""What systemd wants to hear from a unit of Type=notify: that the server is ready, alive and stopping. sd_notify(3)."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress

POLL_S = 0.1  # between looks at whether the models are loaded


def notify(state: str, environ: Mapping[str, str] = os.environ) -> None:
    """Send one line, as READY=1. Without NOTIFY_SOCKET, or with nobody behind it, nothing happens."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to_systemd:
        to_systemd.sendto(state.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)


async def report(
    is_ready: Callable[[], bool], is_alive: Callable[[], bool], environ: Mapping[str, str] = os.environ
) -> None:
    """Say READY once the server is; from then on say twice in each watchdog interval that it lives, while it does."""
    if "NOTIFY_SOCKET" not in environ:
        return
    while not is_ready():  # noqa: ASYNC110 (what is asked is no event of ours)
        await asyncio.sleep(POLL_S)
    notify("READY=1", environ)
    interval_s = int(environ.get("WATCHDOG_USEC") or 0) / 1e6
    while interval_s and is_alive():
        notify("WATCHDOG=1", environ)
        await asyncio.sleep(interval_s / 2)
