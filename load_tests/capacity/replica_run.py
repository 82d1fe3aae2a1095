"""What a replica of our server does on one processor: times that a simulation begins with, and those to hold it to.

Run by `load_tests.capacity`, one process for each replica, all in step.
"""

from __future__ import annotations

import gc
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from multiprocessing.synchronize import Barrier
from typing import NamedTuple

from load_tests.capacity.simulation import Arrival, at_random
from load_tests.generators.arrivals import CONNECTIONS, MOST_CONNECTIONS, Answer, Connections, steps_ms
from load_tests.record import Findings

FULL = 32  # connections of a closed loop, so that batches are full
KEPT = 500  # times of one kind
MANY = 10_000_000  # requests of a closed loop, which time ends


class Plan(NamedTuple):
    """`requests` with one image, by its size, and `batches`, by the images in them; then the loads, for `seconds` each.

    A load is a part of the replica's capacity: of the images a second that FULL connections get.
    """

    port: int
    processor: int
    requests: Sequence[Sequence[bytes]]
    batches: Mapping[int, bytes]
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
        handling = kept(_handling_ms(_closed(plan, requests, 1)))
        together.wait()
        full = _closed(plan, requests, FULL)
        sizes.append({"handling_ms": handling, "full_ms": round(1000 * plan.calibration_s / len(full), 4)})
    network: Findings = {}
    for images, request in plan.batches.items():
        together.wait()
        network[str(images)] = kept([steps_ms([answer])["infer"] for answer in _closed(plan, [request], 1)])
    capacity = 1000 / (sum(size["full_ms"] for size in sizes) / len(sizes))
    loads: list[Findings] = []
    for load in plan.loads:
        together.wait()
        loads.append({"load": load} | _open(plan, load * capacity, number))
    return {"capacity_per_s": round(capacity, 1), "sizes": sizes, "network_ms": network, "loads": loads}


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


def _handling_ms(answers: Sequence[Answer]) -> list[float]:
    """What images cost beside the network: of one caller, from answer to answer, less what the server says of that."""
    ended_s = [answer.sent_at + answer.took_s for answer in answers]
    infer_ms = [steps_ms([answer])["infer"] for answer in answers[1:]]
    return [1000 * (end - begin) - infer for (begin, end), infer in zip(pairwise(ended_s), infer_ms, strict=True)]


def _open(plan: Plan, per_s: float, seed: int) -> Findings:
    """Requests of all sizes at random times. The same arrivals are simulated."""
    arrivals = list(at_random(per_s, plan.seconds, len(plan.requests), seed))
    began = time.monotonic()
    answers = Connections(plan.port, CONNECTIONS, MOST_CONNECTIONS).post(
        _requests(plan, arrivals), [coming.moment_s for coming in arrivals]
    )
    seconds = time.monotonic() - began
    took = [answer for answer in answers if answer.status == "200"]
    late_ms = sorted(1000 * answer.late_s for answer in answers)
    return {
        "arrivals": {"per_s": per_s, "seconds": plan.seconds, "sizes": len(plan.requests), "seed": seed},
        "answered": len(took),
        "seconds": round(seconds, 3),
        "statuses": dict(Counter(answer.status for answer in answers)),
        "late_p99_ms": round(late_ms[int(0.99 * (len(late_ms) - 1))], 3),
        "took_ms": kept([1000 * (answer.took_s + max(0.0, answer.late_s)) for answer in took]),
    }


def _requests(plan: Plan, arrivals: Iterable[Arrival]) -> list[bytes]:
    """Pictures of each size in turn."""
    return [plan.requests[coming.size][turn % len(plan.requests[coming.size])] for turn, coming in enumerate(arrivals)]


def kept(ms: Sequence[float]) -> list[float]:
    """As many as KEPT, ascending, spread evenly."""
    ascending = sorted(ms)
    count = min(KEPT, len(ascending))
    return [round(ascending[(2 * number + 1) * len(ascending) // (2 * count)], 3) for number in range(count)]
