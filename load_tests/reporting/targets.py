"""The targets of the server, beside what was measured: `python -m load_tests.reporting` prints it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from load_tests.peers import OURS
from load_tests.reporting.figures import SPACED, Limit, Raw, Results, Row, best, in_process, middle_rounds, p99_times

SMALL = ("cifar-10", "asl")
OF_THE_LIMIT = {("cats-vs-dogs", "500x374"): 0.80, ("cifar-10", "32x32"): 0.50, ("asl", "28x28"): 0.50}
TIMES = {  # how many times as many requests a second as each peer, on small images and on cats-vs-dogs
    "mosec": (1.0, 1.0),
    "litserve": (1.5, 1.5),
    "bentoml": (2.0, 1.3),
    "fastapi-keras": (10.0, 4.0),
}
LATENCY_TIMES, LATENCY_PLUS_MS = 1.25, 1.0
P99_TIMES = 4.0
BFLOAT16_TIMES, BFLOAT16_OF, ACCURACY_CHANGE = 1.6, "cats-vs-dogs", 0.001
READY_S, MEMORY_MB, FLAT = 5.0, 400.0, 0.05
GOODPUT, CHANGE_BY_STALLED, AT_FLOOD = 0.9, 0.1, {"200", "429", "504"}
RISE_MB, CLAIM_MS = 50.0, 50.0
CLIENT_RATIO = 0.9
SETTLED = 0.1  # the first tenth of a soak, in which buffers reach their size


class Target(NamedTuple):
    """`at_most` says which side of `wanted` is right."""

    name: str
    measured: float
    wanted: float
    at_most: bool = True

    @property
    def kept(self) -> bool:
        return self.measured <= self.wanted if self.at_most else self.measured >= self.wanted

    @property
    def bound(self) -> str:
        """As in `≤ 400`."""
        return f"{'≤' if self.at_most else '≥'} {self.wanted:.4g}"


def every(results: Results) -> list[Target]:
    """One target for each that there are figures for."""
    rows, limits = best(results.peers), in_process(results.limit)
    return [
        *_shares(rows, limits),
        *_times(rows),
        *_latencies(rows, limits),
        *_failures(rows),
        *_gains(results.precisions),
        *_half(results.soak or {}),
        *process(results.soak),
        *survival(results.chaos),
    ]


def process(soak: Raw | None) -> Iterator[Target]:
    """Start, memory, and what the Python client reaches."""
    soak = soak or {}
    if "boot" in soak:
        yield Target("process start to ready, s", statistics.median(soak["boot"]["ready_s"]), READY_S)
    if "memory" in soak:
        samples = soak["memory"]["resident_mb"]
        settled = samples[int(SETTLED * len(samples)) :]
        middle = statistics.median(settled)
        yield Target("worker's resident memory, MB", max(samples), MEMORY_MB)
        yield Target("its change under full load, share", max(abs(one - middle) for one in settled) / middle, FLAT)
    if client := soak.get("client"):
        name = f"predict_many of {client['images']:,} images ÷ capacity, {client['model']}"
        yield Target(name, client["ratio"], CLIENT_RATIO, at_most=False)


def survival(chaos: Raw | None) -> Iterator[Target]:
    """Floods, SIGTERMs, hostile inputs."""
    for part, found in (chaos or {}).items():
        yield from _CHAOS[part](found)


def _shares(rows: Sequence[Row], limits: Mapping[tuple[str, str], Limit]) -> Iterator[Target]:
    for row in _ours(rows, 32):
        case = (row.model, row.image)
        if case in OF_THE_LIMIT and case in limits:
            share = row.per_s / limits[case].both_per_s
            yield Target(f"{_where(row)}: served ÷ in process", share, OF_THE_LIMIT[case], at_most=False)


def _times(rows: Sequence[Row]) -> Iterator[Target]:
    ours = {row[:3]: row.per_s for row in rows if row.peer == OURS}
    for row in rows:
        if row.peer in TIMES and row[:3] in ours:
            wanted = TIMES[row.peer][0 if row.model in SMALL else 1]
            times = ours[row[:3]] / row.per_s if row.per_s else float("inf")
            yield Target(f"{_where(row)}: ours ÷ {row.peer}", times, wanted, at_most=False)


def _latencies(rows: Sequence[Row], limits: Mapping[tuple[str, str], Limit]) -> Iterator[Target]:
    for row in _ours(rows, 1):
        if limit := limits.get((row.model, row.image)):
            wanted = LATENCY_TIMES * limit.latency_ms + LATENCY_PLUS_MS
            yield Target(f"{_where(row)}: median, ms", row.p50_ms, wanted)


def _gains(precisions: Raw | None) -> Iterator[Target]:
    for one in (precisions or {"versions": []})["versions"]:
        name, (plain, reduced) = f"{one['model']} {one['version']}", (one["per_s"][p] for p in ("float32", "bfloat16"))
        if one["model"] == BFLOAT16_OF:
            gain = statistics.median(reduced) / statistics.median(plain)
            yield Target(f"{name}, the network alone: bfloat16 ÷ float32", gain, BFLOAT16_TIMES, at_most=False)
        if len(one["accuracy"]) > 1:
            change = round(abs(one["accuracy"]["bfloat16"] - one["accuracy"]["float32"]), 9)  # of two shares of images
            yield Target(f"{name}: change of accuracy in bfloat16", change, ACCURACY_CHANGE)


def _failures(rows: Sequence[Row]) -> Iterator[Target]:
    if any(row.peer == OURS for row in rows):
        yield Target("failed requests of ours", sum(row.failures for row in rows if row.peer == OURS), 0)


def _half(soak: Raw) -> Iterator[Target]:
    if "half" not in soak:
        return
    rows = soak["half"]["rows"]
    for spaced, row in middle_rounds(rows):
        name = f"{row['model']} {row['image']}, half of capacity {SPACED[spaced]}: p99 ÷ median of one connection"
        yield Target(name, p99_times(spaced, row), P99_TIMES)
    unanswered = sum(row[spaced]["sent"] - row[spaced]["statuses"].get("200", 0) for row in rows for spaced in SPACED)
    yield Target("half of capacity: requests not answered with 200", unanswered, 0)


def _flood(found: Mapping[str, Any]) -> Iterator[Target]:
    floods = [one[part] for one in found["rounds"] for part in ("flooded", "beside_stalled")]
    sent = sum(flood["sent"] for flood in floods)
    answered = sum(count for flood in floods for status, count in flood["statuses"].items() if status in AT_FLOOD)
    times = f"n={len(found['rounds'])}"
    yield Target(f"floods of {sent:,} requests: not answered with 200, 429 or 504", sent - answered, 0)
    goodput = f"flood at four times capacity, {times}: goodput ÷ capacity"
    yield Target(goodput, found["goodput_of_capacity"], GOODPUT, at_most=False)
    yield Target("flood: p99 of what was accepted, ms", max(flood["p99_ms"] for flood in floods), found["deadline_ms"])
    beside = f"500 stalled connections beside it, {times}: loss of goodput"
    yield Target(beside, found["change_by_stalled"], CHANGE_BY_STALLED)


def _sigterm(found: Mapping[str, Any]) -> Iterator[Target]:
    yield Target(f"{found['n']} SIGTERMs under load: accepted requests lost", found["lost"], 0)


def _hostile(found: Mapping[str, Any]) -> Iterator[Target]:
    failed = {status: n for status, n in found["statuses"].items() if not status.isdigit() or status.startswith("5")}
    held = found["resident_bytes"]
    yield Target(f"{found['n']:,} hostile inputs: 5xx, hangs, lost connections", sum(failed.values()), 0)
    yield Target("hostile inputs: rise of memory, MB", (held["after"] - held["after_ordinary_pictures"]) / 1e6, RISE_MB)


def _claims(found: Mapping[str, Any]) -> Iterator[Target]:
    yield Target(
        f"pictures that claim gigapixels, n={found['n']}: longest, ms", max(map(max, found["ms"].values())), CLAIM_MS
    )
    yield Target("pictures that claim gigapixels: rise of memory, MB", found["peak_rise_bytes"] / 1e6, RISE_MB)


_CHAOS: Mapping[str, Callable[[Mapping[str, Any]], Iterator[Target]]] = {
    "flood": _flood,
    "sigterm": _sigterm,
    "hostile": _hostile,
    "claims": _claims,
}


def _ours(rows: Sequence[Row], connections: int) -> list[Row]:
    return [row for row in rows if row.peer == OURS and row.connections == connections]


def _where(row: Row) -> str:
    return f"{row.model} {row.image}, {row.connections} connection{'s' * (row.connections > 1)}"
