"""Requests at set moments, however long the others take, to the tenth of a millisecond; each answer is kept whole.

For rates far below a server's capacity: docs/tuning.md#arrivals-connections. wrk, which sends the floods, has timers of
whole milliseconds. The server says in Server-Timing where an answer's time went; the rest is HTTP, the event
loop's work and waiting for a processor, on both sides.
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
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from load_tests.generators.target import Target
from load_tests.record import Findings

Spacing = Literal["evenly", "randomly"]
Fault = Literal["", "refused", "broken off", "hung"]

CONNECTIONS = 128  # opened at first; see docs/tuning.md#arrivals-connections
# With these taken a request waits, which counts as its own time: select(2) knows 1,024 files, and the server queues 256
# images, so a generator that cannot keep up is slow and does not get quick refusals for it.
MOST_CONNECTIONS = 250
ANSWER_WITHIN_S = 10.0
STEPS = ("decode", "queue", "infer")
SLOWEST = 0.01  # whose steps are given beside everybody's

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_STEP = re.compile(rb"(%s);dur=([0-9.]+)" % b"|".join(step.encode() for step in STEPS))


class Answer(NamedTuple):
    """What became of one request.

    `took_s` counts from `sent_at` on the monotonic clock: when the last byte was sent, less the `waited_s` for a free
    connection. `late_s` is how much later than due.
    `content` is the whole answer, or as much as came where `fault` says why there is no more.
    """

    took_s: float
    late_s: float
    content: bytes
    sent_at: float = 0.0
    fault: Fault = ""
    waited_s: float = 0.0

    @property
    def answered_in_s(self) -> float:
        """From the last byte sent, without the wait for a connection."""
        return self.took_s - self.waited_s

    @property
    def status(self) -> str:
        """As in `200`; the fault where there is no whole answer."""
        return self.fault or self.content[9:12].decode()


class Connections:
    """Connections to a port of this machine: those that wait for an answer, and those that are free."""

    def __init__(self, port: int, first: int = 0, most: int = 1, answer_within_s: float = ANSWER_WITHIN_S) -> None:
        self._port = port
        self._first = first
        self._most = most
        self._within_s = answer_within_s
        self._free: deque[socket.socket] = deque()  # taken in turn, so that none is idle until the server closes it
        self._waiting: dict[socket.socket, tuple[float, float, float]] = {}  # sent_at, late_s and waited_s
        self._answers: list[Answer] = []

    def post(self, requests: Iterable[bytes], due_s: Iterable[float]) -> list[Answer]:
        """Send each request at its moment, seconds from now, and wait for every answer.

        Moments in the past make a closed loop of as many requests as there are connections. Ends early where the
        server refuses a connection: that request's answer says so.
        """
        self._answers = []
        try:
            self._free.extend(self._connected() for _ in range(self._first))
            began = time.monotonic()
            for request, due in zip(requests, due_s, strict=False):
                while (until_s := began + due - time.monotonic()) > 0:
                    self._read(until_s)
                if not self._post(request, began + due):
                    break
            while self._waiting:
                self._read_some()
        finally:
            for connection in (*self._free, *self._waiting):
                connection.close()
            self._free.clear()
            self._waiting.clear()
        return self._answers

    def _connected(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=self._within_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _post(self, request: bytes, due: float) -> bool:
        """Whether the server still takes connections."""
        wanted = time.monotonic()
        while not self._free and len(self._waiting) >= self._most:
            self._read_some()
        waited_s = time.monotonic() - wanted
        try:
            connection = self._free.popleft() if self._free else self._connected()
        except OSError:
            self._answers.append(Answer(0.0, wanted - due, b"", time.monotonic(), "refused"))
            return False
        sent_at = time.monotonic()
        try:
            connection.sendall(request)
            sent_at = time.monotonic()
        except OSError:
            pass  # answered before it was read to its end, or broken off: reading says which
        self._waiting[connection] = (sent_at - waited_s, wanted - due, waited_s)
        return True

    def _read_some(self) -> None:
        if not self._read(self._within_s):
            for connection in list(self._waiting):
                self._keep(connection, b"", "hung")

    def _read(self, within_s: float) -> int:
        """Wait for answers, but no longer than that; how many have come."""
        readable, _, _ = select.select(list(self._waiting), (), (), within_s)
        for connection in readable:
            self._keep(connection, *_whole_answer(connection))
        return len(readable)

    def _keep(self, connection: socket.socket, content: bytes, fault: Fault) -> None:
        sent_at, late_s, waited_s = self._waiting.pop(connection)
        self._answers.append(Answer(time.monotonic() - sent_at, late_s, content, sent_at, fault, waited_s))
        if fault or _CLOSES.search(content.partition(b"\r\n\r\n")[0]):
            connection.close()
        else:
            self._free.append(connection)


def arrivals(target: Target, seconds: float, per_s: float, spaced: Spacing) -> Findings:
    """Post pictures for some seconds, evenly spaced or at random (exponential) times, and wait for every answer.

    Gives what was sent, answers by status, times, how late requests were sent, and milliseconds by step: means of all
    answers and of the slowest hundredth. Raises ConnectionError where a request has no whole answer.
    """
    requests = target.requests()
    due_s = list(moments(seconds, per_s, spaced))
    gc.collect()
    gc.disable()  # a collection would be the server's delay
    try:
        connections = Connections(target.port, CONNECTIONS, MOST_CONNECTIONS)
        answers = connections.post((requests[number % len(requests)] for number in range(len(due_s))), due_s)
    finally:
        gc.enable()
    if faults := Counter(answer.fault for answer in answers if answer.fault):
        raise ConnectionError(f"of {len(due_s)} requests some have no whole answer: {dict(faults)}")
    return {"offered_per_s": round(per_s, 1), "sent": len(due_s)} | summary(answers)


def summary(answers: Sequence[Answer]) -> Findings:
    """Answers by status, percentiles and steps."""
    by_time = sorted(answers)
    took_ms, late_ms = [1000 * a.took_s for a in answers], [1000 * a.late_s for a in answers]
    slowest = by_time[-max(1, round(SLOWEST * len(by_time))) :]
    return {
        "statuses": dict(Counter(a.status for a in answers)),
        "p50_ms": _percentile(took_ms, 50),
        "p99_ms": _percentile(took_ms, 99),
        "late_p99_ms": _percentile(late_ms, 99),
        "steps_ms": steps_ms(by_time),
        "slowest_steps_ms": steps_ms(slowest),
    }


def steps_ms(answers: Sequence[Answer]) -> dict[str, float]:
    """Mean milliseconds of each step that the server named, and the rest of the time."""
    rows = [{step.decode(): float(ms) for step, ms in _STEP.findall(a.content)} for a in answers]
    means = {step: statistics.fmean(row.get(step, 0.0) for row in rows) for step in STEPS}
    rest = statistics.fmean(1000 * a.took_s for a in answers) - sum(means.values())
    return {step: round(ms, 3) for step, ms in (means | {"rest": rest}).items()}


def moments(seconds: float, per_s: float, spaced: Spacing) -> Iterator[float]:
    """Seconds from the start, the same random ones each time."""
    chance = random.Random(1)
    moment = 0.0
    while (moment := moment + (1 / per_s if spaced == "evenly" else chance.expovariate(per_s))) < seconds:
        yield moment


def _whole_answer(connection: socket.socket) -> tuple[bytes, Fault]:
    content = b""
    while True:
        try:
            part = connection.recv(65_536)
        except TimeoutError:
            return content, "hung"
        except OSError:
            part = b""
        if not part:
            return content, "broken off"
        content += part
        head, _, body = content.partition(b"\r\n\r\n")
        announced = _LENGTH.search(head)
        if announced and len(body) >= int(announced[1]):
            return content, ""


def _percentile(milliseconds: Sequence[float], percent: float) -> float:
    return round(float(np.percentile(milliseconds, percent, method="inverted_cdf")), 3)
