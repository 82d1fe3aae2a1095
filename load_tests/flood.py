"""Requests at a rate, up to more than a server can answer, sent by wrk: a load generator in Python would take a part of
the processors that grows with the rate, and so flood itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import statistics
from collections.abc import AsyncIterator
from pathlib import Path

from load_tests.peers import PEERS, measure
from load_tests.peers.measure import Target
from load_tests.record import Findings

SCRIPT = Path(__file__).with_suffix(".lua")
# Of the flood, as a proxy would keep: more than are answered late. wrk looks at every one's timer in each turn of its
# loop, so with 1,000 it took 320 ms of processor a second in place of 250, and was later.
MOST_CONNECTIONS = 500
# wrk copies each request into memory of just its size, which for 600 kB glibc takes from the system anew each time: a
# quarter of wrk's time in a flood (430 and 320 ms of processor a second).
ENVIRON = {"MALLOC_MMAP_THRESHOLD_": "1000000000", "MALLOC_TRIM_THRESHOLD_": "1000000000"}
CALLERS = 32  # who wait for their answers, by which capacity is meant
DEADLINE_MS = 3_000
DRAIN_S = 1 + DEADLINE_MS // 1000  # until the last answer
TIMES = 4
STALLED = 500


async def rounds(target: Target, count: int, scale: float) -> Findings:
    """Capacity, four times as many arrivals, and those with stalled connections beside them, in turns.

    What the machine does changes from minute to minute, so each share is of figures of one round; medians are told.
    """
    every = [await _round(target, scale, stalled_first=bool(number % 2)) for number in range(count)]
    return {
        "deadline_ms": DEADLINE_MS,
        "rounds": every,
        "goodput_of_capacity": statistics.median(one["flooded"]["per_s"] / one["capacity"]["per_s"] for one in every),
        "change_by_stalled": statistics.median(
            1 - one["beside_stalled"]["per_s"] / one["flooded"]["per_s"] for one in every
        ),
    }


async def _round(target: Target, scale: float, *, stalled_first: bool) -> Findings:
    seconds, quarter = max(2, round(60 * scale)), max(2, round(15 * scale))
    capacity = await sent(target, quarter, connections=CALLERS)
    per_s = TIMES * capacity["per_s"]
    found = {"capacity": capacity, "normal": await sent(target, 2, connections=1)}
    for beside in (stalled_first, not stalled_first):
        if beside:
            async with stalled(target, STALLED):
                found["beside_stalled"] = await sent(target, seconds, per_s=per_s)
        else:
            after = asyncio.create_task(_later(seconds + 2, target))
            found["flooded"] = await sent(target, seconds, per_s=per_s)
            found["two_seconds_after"] = await after
    return found


async def _later(seconds: float, target: Target) -> Findings:
    await asyncio.sleep(seconds)
    return await sent(target, 2, connections=1)


async def sent(
    target: Target,
    seconds: int,
    *,
    connections: int = MOST_CONNECTIONS,
    per_s: float = 0.0,
) -> Findings:
    """Post pictures for some seconds: at random times of a rate, or without one as fast as each connection is answered.

    Gives the requests sent, those answered by status, the right answers a second while requests were sent, and their
    times. Of a rate also how late the load generator was; much of it makes the times its own.
    """
    if (wrk := shutil.which("wrk")) is None:
        raise SystemExit("a load at a rate needs wrk: apt-get install wrk")
    rate = [f"{per_s:.1f}"] if per_s else []
    options = ["-t1", f"-c{connections}", f"-d{seconds + DRAIN_S}s", "--timeout", "60s", "-s", str(SCRIPT)]
    pictures = ["--", str(target.folder), str(len(target.pictures.sample)), str(seconds), *rate]
    url = measure.url(target.server, target.name, target.pictures.model)
    running = await asyncio.create_subprocess_exec(
        wrk, *options, url, *pictures, stdout=asyncio.subprocess.PIPE, env=os.environ | ENVIRON
    )
    said, _ = await running.communicate()
    if running.returncode:
        raise RuntimeError(f"wrk ended with {running.returncode}: {said.decode()}")
    found: Findings = json.loads(said.decode().strip().rpartition("\n")[2])
    return {"per_s": round(found.pop("good") / seconds, 1), "offered_per_s": round(found["sent"] / seconds, 1)} | found


@contextlib.asynccontextmanager
async def stalled(target: Target, count: int) -> AsyncIterator[None]:
    """Connections that trickle: half of them a request's head, half of them a body."""
    port = int(target.server.url.rpartition(":")[2])
    path = PEERS[target.name].path.format(model=target.pictures.model)
    body = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n".encode()

    async def trickle(number: int) -> None:
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(body if number % 2 else b"GET / HTTP/1.1\r\n")
                while True:
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(1)
            await asyncio.sleep(0.5)

    tasks = [asyncio.create_task(trickle(number)) for number in range(count)]
    await asyncio.sleep(1)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
