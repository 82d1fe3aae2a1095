"""Raw results to figures: medians over the rounds, the best number of workers, the middle round."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from load_tests import record
from load_tests.peers import PEERS

SPACED = {"evenly": "evenly spaced", "randomly": "at random times"}


class Row(NamedTuple):
    """One server at one load: medians over the rounds, all failures, the most memory."""

    model: str
    image: str
    connections: int
    peer: str
    workers: int
    rounds: int
    precision: str
    per_s: float
    p50_ms: float
    p99_ms: float
    failures: int
    memory_mb: float


class Limit(NamedTuple):
    """What one process did without HTTP: medians over the rounds, at the best batch size."""

    decode_per_s: float
    infer_per_s: float
    both_per_s: float
    batch: int
    latency_ms: float


Case = tuple[str, str]  # model and image
Raw = Mapping[str, Any]


class Results(NamedTuple):
    """All raw results; None where there was no run."""

    peers: Raw | None = None
    limit: Raw | None = None
    soak: Raw | None = None
    chaos: Raw | None = None
    int8: Raw | None = None
    gpu: Raw | None = None
    int8_http: Raw | None = None

    @classmethod
    def read(cls, folder: Path = record.RESULTS) -> Results:
        return cls(*(record.read(folder / f"{name}.json") for name in cls._fields))

    @property
    def precisions(self) -> Raw | None:
        return (self.limit or {}).get("precisions")

    @property
    def int8_network(self) -> Raw | None:
        return (self.limit or {}).get("int8")


def best(peers: Raw | None) -> list[Row]:
    """One row a server and load: with the number of workers that served most there."""
    groups: dict[tuple[Any, ...], list[Raw]] = {}
    for run in (peers or {"runs": []})["runs"]:
        groups.setdefault(tuple(run[name] for name in ("model", "image", "connections", "peer", "workers")), []).append(
            run
        )
    found: dict[tuple[Any, ...], Row] = {}
    for key, runs in groups.items():
        row = _row(key, runs)
        found[key[:4]] = max(row, found.get(key[:4], row), key=lambda one: one.per_s)
    order = list(PEERS)
    return sorted(found.values(), key=lambda row: (row.model, row.image, row.connections, order.index(row.peer)))


def _row(key: tuple[Any, ...], runs: Sequence[Raw]) -> Row:
    model, image, connections, peer, workers = key
    per_s, p50_ms, p99_ms = (statistics.median(run[name] for run in runs) for name in ("per_s", "p50_ms", "p99_ms"))
    failures, memory_mb = sum(run["failures"] for run in runs), max(run["memory_mb"] for run in runs)
    load, seen = (model, image, connections, peer, workers, len(runs)), (per_s, p50_ms, p99_ms, failures, memory_mb)
    return Row(*load, runs[0]["precision"], *seen)


def in_process(limit: Raw | None) -> dict[Case, Limit]:
    runs: dict[Case, list[Raw]] = {}
    for run in (limit or {"runs": []})["runs"]:
        runs.setdefault((run["model"], run["image"]), []).append(run)
    return {case: _limit(found) for case, found in runs.items()}


def _limit(runs: Sequence[Raw]) -> Limit:
    def at_best(name: str) -> tuple[float, int]:
        return max((statistics.median(run[name][size] for run in runs), int(size)) for size in runs[0][name])

    decode = statistics.median(run["decode_per_s"] for run in runs)
    latency = statistics.median(run["latency_ms"]["p50"] for run in runs)
    both, batch = at_best("both_per_s")
    return Limit(decode, at_best("infer_per_s")[0], both, batch, latency)


def middle_rounds(half: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """For each image size and kind of arrivals the round whose p99 is the median of all, in times of one connection."""
    for case in dict.fromkeys((row["model"], row["image"]) for row in half):
        rounds = [row for row in half if (row["model"], row["image"]) == case]
        for spaced in SPACED:
            yield spaced, sorted(rounds, key=partial(p99_times, spaced))[len(rounds) // 2]


def p99_times(spaced: str, row: Mapping[str, Any]) -> float:
    times: float = row[spaced]["p99_ms"] / row["one"]["p50_ms"]
    return times
