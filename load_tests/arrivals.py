"""An open loop: requests come at a set rate, whether or not the server keeps up."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import uvloop

STEP_S = 0.001  # how finely the schedule is kept


class Outcome(NamedTuple):
    """What came of it. A latency counts from the moment the request was due, so a late generator is not flattered."""

    offered_per_s: float
    served_per_s: float
    failures: int
    p50_ms: float
    p99_ms: float
    generator_behind_ms: float


def offer(url: str, bodies: Sequence[bytes], media_type: str, per_s: float, seconds: float) -> Outcome:
    """Post the bodies in turn, evenly spaced, over as many connections as are needed at once."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_offer(url, bodies, media_type, per_s, seconds))


async def _offer(url: str, bodies: Sequence[bytes], media_type: str, per_s: float, seconds: float) -> Outcome:
    target = urlsplit(url)
    lines = _Lines(str(target.hostname), int(target.port or 80))
    head = f"POST {target.path} HTTP/1.1\r\nHost: {target.hostname}\r\nContent-Type: {media_type}\r\n"
    turn = itertools.cycle([f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies])
    took_s: list[float] = []
    behind_s = [0.0]
    began = time.monotonic()

    async def one(request: bytes, due: float) -> bool:
        behind_s.append(time.monotonic() - due)
        good = await lines.ask(request)
        if good:
            took_s.append(time.monotonic() - due)
        return good

    tasks: list[asyncio.Task[bool]] = []
    while (past := time.monotonic() - began) < seconds:
        while len(tasks) < past * per_s:
            tasks.append(asyncio.create_task(one(next(turn), began + len(tasks) / per_s)))
        await asyncio.sleep(STEP_S)
    good = sum(await asyncio.gather(*tasks))
    lines.close()
    return _outcome(took_s, len(tasks) / seconds, good / (time.monotonic() - began), len(tasks) - good, max(behind_s))


def _outcome(took_s: list[float], offered: float, served: float, failures: int, behind_s: float) -> Outcome:
    cuts = statistics.quantiles(took_s, n=100, method="inclusive") if len(took_s) > 1 else [float("inf")] * 99
    figures = (offered, served, failures, 1000 * cuts[49], 1000 * cuts[98], 1000 * behind_s)
    return Outcome(*(round(figure, 3) for figure in figures))  # type: ignore[arg-type]


class _Lines:
    """Kept-alive connections to one place."""

    def __init__(self, host: str, port: int) -> None:
        self._at = (host, port)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, request: bytes) -> bool:
        """Send a whole request and read the whole answer; whether that was a success."""
        try:
            reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection(*self._at)
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        except (OSError, EOFError, ValueError):
            return False
        self._idle.append((reader, writer))
        return head[9:12] == b"200"

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()
