"""Requests at set moments, however long the others take, to the tenth of a millisecond.

wrk, which sends the floods (`flood`), has timers of whole milliseconds: of several thousand requests a second it sends
several at once. This waits in select(2), which knows microseconds, and takes 30 to 60 us of processor a request, so it
is for rates far below a server's capacity. The server says in Server-Timing where an answer's time went; what is left
of it is HTTP, the event loop's work and waiting for a processor, on both sides.
"""

from __future__ import annotations

import gc
import random
import re
import select
import socket
import statistics
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Literal, NamedTuple

import numpy as np

from load_tests.peers import PEERS
from load_tests.peers.measure import Target
from load_tests.record import Findings

Spacing = Literal["evenly", "randomly"]

# At first; when all are taken one more is opened, so that no request waits for another's answer. To open many at once
# delays the answers and so takes more of them: from 16 on, asl refused 175 of 35,000 requests at half of its capacity.
CONNECTIONS = 128
# With these taken a request waits for an answer, which counts as its own time: select(2) knows 1,024 files, and the
# server lets 256 images wait, so a generator that cannot keep up is slow and does not get quick refusals for it.
MOST_CONNECTIONS = 250
ANSWER_WITHIN_S = 10.0
STEPS = ("decode", "queue", "infer")
SLOWEST = 0.01  # whose steps are told beside everybody's

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STEP = re.compile(rb"(%s);dur=([0-9.]+)" % b"|".join(step.encode() for step in STEPS))


class Answer(NamedTuple):
    """The bytes of an answer, how long it took from the last byte sent, and how much later than due that began."""

    took_s: float
    late_s: float
    content: bytes


def arrivals(target: Target, seconds: float, per_s: float, spaced: Spacing) -> Findings:
    """Post pictures for some seconds, evenly spaced or at random (exponential) times, and wait for every answer.

    Gives what was sent, answers by status, times, how late requests were sent, and milliseconds by step: means of all
    answers and of the slowest hundredth.
    """
    requests = list(_requests(target))
    due_s = list(_moments(seconds, per_s, spaced))
    port = int(target.server.url.rpartition(":")[2])
    gc.collect()
    gc.disable()  # a collection would be the server's delay
    try:
        answers = _Posting(port, requests).run(due_s)
    finally:
        gc.enable()
    return {"offered_per_s": round(per_s, 1), "sent": len(due_s)} | told(answers)


def told(answers: Sequence[Answer]) -> Findings:
    """Percentiles and steps."""
    by_time = sorted(answers)
    took_ms, late_ms = [1000 * a.took_s for a in answers], [1000 * a.late_s for a in answers]
    slowest = by_time[-max(1, round(SLOWEST * len(by_time))) :]
    return {
        "statuses": dict(Counter(a.content[9:12].decode() for a in answers)),
        "p50_ms": _percentile(took_ms, 50),
        "p99_ms": _percentile(took_ms, 99),
        "late_p99_ms": _percentile(late_ms, 99),
        "steps_ms": steps_ms(by_time),
        "slowest_steps_ms": steps_ms(slowest),
    }


def steps_ms(answers: Sequence[Answer]) -> dict[str, float]:
    """Mean milliseconds of each step that the server told, and the rest of the time."""
    rows = [{step.decode(): float(ms) for step, ms in _STEP.findall(a.content)} for a in answers]
    means = {step: statistics.fmean(row.get(step, 0.0) for row in rows) for step in STEPS}
    rest = statistics.fmean(1000 * a.took_s for a in answers) - sum(means.values())
    return {step: round(ms, 3) for step, ms in (means | {"rest": rest}).items()}


class _Posting:
    """Connections to a server, those that wait for an answer and those that do not."""

    def __init__(self, port: int, requests: Sequence[bytes]) -> None:
        self._port = port
        self._requests = requests
        self._free: deque[socket.socket] = deque()  # taken in turn, so that none is idle until the server closes it
        self._waiting: dict[socket.socket, tuple[float, float]] = {}  # when a request was sent, and how late
        self._answers: list[Answer] = []

    def run(self, due_s: Sequence[float]) -> list[Answer]:
        """Post at these moments from now on. Raises TimeoutError where an answer stays away, or another OSError."""
        with ExitStack() as connections:
            self._free = deque(connections.enter_context(self._connected()) for _ in range(CONNECTIONS))
            began = time.perf_counter()
            for number, due in enumerate(due_s):
                while (until_s := began + due - time.perf_counter()) > 0:
                    self._read(until_s)
                if not self._free and len(self._waiting) < MOST_CONNECTIONS:
                    self._free.append(connections.enter_context(self._connected()))
                self._post(self._requests[number % len(self._requests)], began + due)
            while self._waiting:
                self._read_some()
        return self._answers

    def _connected(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=ANSWER_WITHIN_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _post(self, request: bytes, due: float) -> None:
        wanted = time.perf_counter()
        while not self._free:
            self._read_some()
        waited_s = time.perf_counter() - wanted
        connection = self._free.popleft()
        connection.sendall(request)
        self._waiting[connection] = (time.perf_counter() - waited_s, wanted - due)

    def _read_some(self) -> None:
        if not self._read(ANSWER_WITHIN_S):
            raise TimeoutError(f"{len(self._waiting)} answers stayed away for {ANSWER_WITHIN_S:g} s")

    def _read(self, within_s: float) -> int:
        """Wait for answers, but no longer than that; how many have come."""
        readable, _, _ = select.select(list(self._waiting), (), (), within_s)
        for connection in readable:
            content = _whole_answer(connection)
            sent_at, late_s = self._waiting.pop(connection)
            self._answers.append(Answer(time.perf_counter() - sent_at, late_s, content))
            self._free.append(connection)
        return len(readable)


def _whole_answer(connection: socket.socket) -> bytes:
    content = b""
    while True:
        if not (part := connection.recv(65_536)):
            raise ConnectionError(f"the server hung up after {content[:200]!r}")
        content += part
        head, _, body = content.partition(b"\r\n\r\n")
        announced = _LENGTH.search(head)
        if announced and len(body) >= int(announced[1]):
            return content


def _requests(target: Target) -> Iterator[bytes]:
    peer = PEERS[target.name]
    path = peer.path.format(model=target.pictures.model)
    for picture in target.pictures.sample:
        body = peer.wire.body(picture.body)
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {peer.wire.media_type}\r\n"
        yield f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _moments(seconds: float, per_s: float, spaced: Spacing) -> Iterator[float]:
    """Seconds from the start, the same random ones each time."""
    chance = random.Random(1)
    moment = 0.0
    while (moment := moment + (1 / per_s if spaced == "evenly" else chance.expovariate(per_s))) < seconds:
        yield moment


def _percentile(milliseconds: Sequence[float], percent: float) -> float:
    return round(float(np.percentile(milliseconds, percent, method="inverted_cdf")), 3)
