"""Hostile inputs and pictures that claim gigapixels: each is answered, and none stays in memory."""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections import Counter

from load_tests.chaos.attacks import attacks, lying_header, png_bomb
from load_tests.chaos.server import first_model, peak_bytes, reset_peak, resident_bytes, serving
from load_tests.generators.arrivals import Connections
from load_tests.generators.target import post
from load_tests.record import Findings

WAVE = 200  # hostile inputs that are made and sent together
AT_ONCE = 16
ORDINARY = 500  # pictures before, so that buffers have their size
CLAIMS = 30  # of each of the two pictures
MOST_RISE_BYTES = 50_000_000
HANGS_AFTER_S = 30.0


def measured(options: argparse.Namespace, promises: dict[str, bool]) -> Findings:
    """Mutated inputs after ordinary ones, and the memory that they leave behind."""
    count = options.inputs or max(WAVE, round(10_000 * options.scale))
    statuses: Counter[str] = Counter()
    slowest_s = 0.0
    with serving(options) as server, first_model(server) as target:
        connections = Connections(target.port, most=AT_ONCE, answer_within_s=HANGS_AFTER_S)
        worker = server.worker()
        ready = resident_bytes(worker)
        connections.post(itertools.islice(itertools.cycle(target.requests()), ORDINARY), itertools.repeat(0.0))
        before = reset_peak(worker)
        for seed, start in enumerate(range(0, count, WAVE)):
            wave = attacks(seed, min(WAVE, count - start))
            requests = [post(target.path, attack.body, attack.media_type) for attack in wave]
            answers = connections.post(requests, itertools.repeat(0.0))
            statuses.update(answer.status for answer in answers)
            slowest_s = max(slowest_s, *(answer.answered_in_s for answer in answers))
        after, peak = resident_bytes(worker), peak_bytes(worker)
        same = worker == server.worker()
    whole = all(status.isdigit() for status in statuses)
    promises[f"{count} hostile inputs: no 5xx"] = not any(status.startswith("5") for status in statuses)
    promises["hostile inputs: each is answered"] = whole and statuses.total() == count
    promises["hostile inputs: the worker lives"] = same
    promises["hostile inputs: memory grows by 50 MB or less"] = after - before <= MOST_RISE_BYTES
    memory = {"ready": ready, "after_ordinary_pictures": before, "after": after, "peak": peak}
    return {"n": count, "statuses": dict(statuses), "slowest_ms": round(1000 * slowest_s, 1), "resident_bytes": memory}


def claims(options: argparse.Namespace, promises: dict[str, bool]) -> Findings:
    """Pictures that claim gigapixels, one after the other on an open connection: time, and memory at its peak."""
    lies = {"64-byte header of 65,000 x 65,000": lying_header(), "PNG of 46,000 x 46,000": png_bomb()}
    with serving(options) as server, first_model(server) as target:
        worker = server.worker()
        requests = [post(target.path, body, target.media_type) for body in lies.values()] * CLAIMS
        before = reset_peak(worker)
        answers = Connections(target.port, first=1).post(requests, itertools.repeat(0.0))
        rise = peak_bytes(worker) - before
    statuses = Counter(answer.status for answer in answers)
    taken = {
        name: [round(1000 * a.took_s, 2) for a in answers[number :: len(lies)]] for number, name in enumerate(lies)
    }
    promises["gigapixel claims: refused within 50 ms"] = max(map(max, taken.values())) < 50 and set(statuses) == {"413"}
    promises["gigapixel claims: memory rises by less than 50 MB"] = rise < MOST_RISE_BYTES
    return {
        "n": CLAIMS,
        "bytes": {name: len(body) for name, body in lies.items()},
        "statuses": dict(statuses),
        "peak_rise_bytes": rise,
        "median_ms": {name: statistics.median(ms) for name, ms in taken.items()},
        "ms": taken,
    }
