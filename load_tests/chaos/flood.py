"""A flood at four times capacity, and stalled connections beside it."""

from __future__ import annotations

import argparse
import contextlib
import socket
import statistics
import threading
import time
from collections.abc import Iterator

from load_tests.chaos.server import first_model, serving
from load_tests.generators.target import Target
from load_tests.generators.wrk import DRAIN_S, Wrk, flood, flooded
from load_tests.record import Findings

CALLERS = 32  # who wait for their answers, by which capacity is meant
DEADLINE_MS = 1000 * (DRAIN_S - 1)
TIMES = 4
STALLED = 500


def measured(options: argparse.Namespace, promises: dict[str, bool]) -> Findings:
    """Capacity with 32 callers, then four times as many arrivals, then that with stalled connections beside it."""
    with serving(options, REQUEST_TIMEOUT_MS=str(DEADLINE_MS)) as server, first_model(server) as target:
        found = _rounds(target, options.rounds, options.scale)
    every = found["rounds"]
    floods = [one[kind] for one in every for kind in ("flooded", "beside_stalled")]
    answered = {status for flooded in floods for status in flooded["statuses"]}
    after = [one["two_seconds_after"]["p99_ms"] <= 2 * one["normal"]["p99_ms"] + 5 for one in every]
    promises["flood: every request is answered 200, 429 or 504"] = answered <= {"200", "429", "504"} and all(
        flooded["sent"] == sum(flooded["statuses"].values()) for flooded in floods
    )
    promises["flood: goodput is 0.9 of capacity or more"] = found["goodput_of_capacity"] >= 0.9
    promises["flood: accepted p99 is within the deadline"] = all(f["p99_ms"] <= DEADLINE_MS for f in floods)
    promises["flood: two seconds later latency is as before"] = sum(after) * 2 > len(after)
    promises["500 stalled connections change goodput by less than 10 %"] = found["change_by_stalled"] < 0.1
    return found


def _rounds(target: Target, count: int, scale: float) -> Findings:
    """Capacity, four times as many arrivals, and those with stalled connections beside them, in turns.

    What the machine does changes from minute to minute, so each share is of figures of one round; medians are given.
    """
    every = [_round(target, scale, stalled_first=bool(number % 2)) for number in range(count)]
    return {
        "deadline_ms": DEADLINE_MS,
        "rounds": every,
        "goodput_of_capacity": statistics.median(one["flooded"]["per_s"] / one["capacity"]["per_s"] for one in every),
        "change_by_stalled": statistics.median(
            1 - one["beside_stalled"]["per_s"] / one["flooded"]["per_s"] for one in every
        ),
    }


def _round(target: Target, scale: float, *, stalled_first: bool) -> Findings:
    seconds, quarter = max(2, round(60 * scale)), max(2, round(15 * scale))
    capacity = flood(target, quarter, connections=CALLERS)
    per_s = TIMES * capacity["per_s"]
    found = {"capacity": capacity, "normal": flood(target, 2, connections=1)}
    for beside in (stalled_first, not stalled_first):
        if beside:
            with stalled(target, STALLED):
                found["beside_stalled"] = flood(target, seconds, per_s=per_s)
        else:
            running = Wrk.flood(target, seconds, per_s=per_s)
            time.sleep(seconds + 2)
            found["two_seconds_after"] = flood(target, 2, connections=1)
            found["flooded"] = flooded(running, seconds)
    return found


@contextlib.contextmanager
def stalled(target: Target, count: int) -> Iterator[None]:
    """Connections that trickle a byte a second: half of them a request's head, half of them a body."""
    body = f"POST {target.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n".encode()
    openings = [body if number % 2 else b"GET / HTTP/1.1\r\n" for number in range(count)]
    ended = threading.Event()
    thread = threading.Thread(target=_trickle, args=(target.port, openings, ended))
    thread.start()
    time.sleep(1)
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _trickle(port: int, openings: list[bytes], ended: threading.Event) -> None:
    """One that the server cuts off comes again a second later."""
    with contextlib.ExitStack() as opened:
        connections: dict[int, socket.socket] = {}
        while not ended.wait(1.0 if connections else 0.0):
            for number, opening in enumerate(openings):
                try:
                    if number in connections:
                        connections[number].send(b"x")
                    else:
                        connections[number] = opened.enter_context(socket.create_connection(("127.0.0.1", port), 1.0))
                        connections[number].send(opening)
                except OSError:
                    if number in connections:
                        connections.pop(number).close()
