"""What a replica of our server does on one processor: times that a simulation begins with, and those to hold it to.

Run by `load_tests.capacity`, one process for each replica, all in step.
"""

from __future__ import annotations

import gc
import os
import random
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from multiprocessing.synchronize import Barrier
from typing import NamedTuple

from load_tests.capacity.simulation import at_random
from load_tests.generators.arrivals import CONNECTIONS, MOST_CONNECTIONS, Answer, Connections
from load_tests.record import Findings

FULL = 32  # connections of a closed loop, so that batches are full
KEPT = 500  # times of one load
MANY = 10_000_000  # requests of a closed loop, which time ends


class Plan(NamedTuple):
    """`requests` by size; then how busy the replica is to be, each for so many seconds."""

    port: int
    processor: int
    requests: Sequence[Sequence[bytes]]
    loads: Sequence[float]
    calibration_s: float
    seconds: float


def run(plan: Plan, together: Barrier, number: int) -> Findings:
    """Measure one replica while the others do the same."""
    os.sched_setaffinity(0, {plan.processor})
    gc.disable()  # a collection would be the server's delay
    together.wait()
    _closed(plan, plan.requests[0], FULL)  # everything is warm then
    sizes: list[Findings] = []
    for requests in plan.requests:
        together.wait()
        alone = _closed(plan, requests, 1)
        together.wait()
        full = _closed(plan, requests, FULL)
        sent_at_once = [answer._replace(late_s=0.0) for answer in alone]  # in a closed loop nothing is due
        sizes.append({"alone_ms": _ms(sent_at_once), "full_ms": round(1000 * plan.calibration_s / len(full), 4)})
    capacity = 1000 / (sum(size["full_ms"] for size in sizes) / len(sizes))
    loads: list[Findings] = []
    for load in plan.loads:
        together.wait()
        loads.append({"load": load} | _open(plan, load * capacity, number))
    return {"capacity_per_s": round(capacity, 1), "sizes": sizes, "loads": loads}


def _closed(plan: Plan, requests: Sequence[bytes], connections: int) -> list[Answer]:
    """So many callers, each sending the next request when the last is answered."""
    until = time.monotonic() + plan.calibration_s

    def coming() -> Iterable[bytes]:
        number = 0
        while time.monotonic() < until:
            yield requests[number % len(requests)]
            number += 1

    callers = Connections(plan.port, connections, connections)
    return callers.post(coming(), (0.0 for _ in range(MANY)))


def _open(plan: Plan, per_s: float, seed: int) -> Findings:
    """Requests of all sizes at random times."""
    due_s = list(at_random(per_s, plan.seconds, seed))
    chance = random.Random(seed)
    requests = [chance.choice(chance.choice(plan.requests)) for _ in due_s]
    began = time.monotonic()
    answers = Connections(plan.port, CONNECTIONS, MOST_CONNECTIONS).post(requests, due_s)
    took = [answer for answer in answers if answer.status == "200"]
    late_ms = sorted(1000 * answer.late_s for answer in answers)
    return {
        "offered_per_s": round(per_s, 1),
        "answered": len(took),
        "seconds": round(time.monotonic() - began, 3),
        "statuses": dict(Counter(answer.status for answer in answers)),
        "late_p99_ms": round(late_ms[int(0.99 * (len(late_ms) - 1))], 3),
        "took_ms": _ms(took),
    }


def _ms(answers: Sequence[Answer]) -> list[float]:
    """How long answers took since they were due, ascending: as many as KEPT, spread evenly."""
    by_time = sorted(1000 * (answer.took_s + max(0.0, answer.late_s)) for answer in answers)
    kept = min(KEPT, len(by_time))
    return [round(by_time[(2 * number + 1) * len(by_time) // (2 * kept)], 3) for number in range(kept)]
