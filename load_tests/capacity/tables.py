"""The tables of docs/capacity.md, from raw results."""

from __future__ import annotations

from collections.abc import Iterable

from load_tests import record
from load_tests.capacity.plan import planned
from load_tests.record import Findings
from load_tests.reporting.figures import Results, best
from load_tests.reporting.tables import table

RAW = record.RESULTS / "capacity.json"
NOT_YET = f"Not measured yet: `python -m load_tests.capacity --out load_tests/results/{RAW.name}`, then `make docs`."
RATES = (10, 1_000, 100_000)
CONNECTIONS = 32


def plans() -> Iterable[str]:
    """Replicas for three rates, by what `make peers` measured of ours with 32 connections."""
    rows = []
    for row in best(Results.read().peers):
        if row.peer == "sightline" and row.connections == CONNECTIONS:
            for rate in RATES:
                plan = planned(rate, row.per_s)
                cells = (f"`{row.model}`", row.image, f"{row.per_s:,.0f}", f"{rate:,}", f"{plan.replicas:,}")
                more = (f"{plan.surge:,}", f"{plan.processors:,}", f"{plan.memory_gib:,.0f}")
                rows.append((*cells, *more, f"{plan.dollars_a_month:,.0f}"))
    head = ("model", "image", "one replica, images/s", "images/s", "replicas", "more in a roll-out")
    return table((*head, "processors", "memory, GiB", "US dollars a month"), rows)


def agreement() -> Iterable[str]:
    """The simulation beside the measured run."""
    if not RAW.exists():
        return [NOT_YET]
    sides, figures = ("measured", "simulated"), ("per_s", "p50_ms", "p99_ms")
    rows = [
        (
            f"{row['load']:g}",
            f"{row['offered_per_s']:,.0f}",
            *(f"{row[side][figure]:,.1f}" for figure in figures for side in sides),
            *(f"{row['ratio'][figure]:.2f}" for figure in ("per_s", "p99_ms")),
        )
        for row in _raw()["compared"]
    ]
    head = ("load", "offered/s", "answered/s", "simulated", "p50 ms", "simulated", "p99 ms", "simulated")
    return [*table((*head, "answered, ratio", "p99, ratio"), rows), "", _circumstances()]


def curve() -> Iterable[str]:
    """How p99 grows with load."""
    if not RAW.exists():
        return [NOT_YET]
    rows = [
        (
            f"{row['load']:g}",
            *(f"{row[figure]:,.1f}" for figure in ("per_s", "p50_ms", "p99_ms")),
            f"{row['refused']:,}",
        )
        for row in _raw()["curve"]
    ]
    return table(("load", "answered/s", "p50 ms", "p99 ms", "refused"), rows)


def rush() -> Iterable[str]:
    """What a sudden growth does until new replicas are ready."""
    if not RAW.exists():
        return [NOT_YET]
    rows = [
        (
            f"{row['times']:g}",
            "none" if row["first_ready_s"] is None else f"{row['first_ready_s']:g}",
            f"{row['replicas']:,}",
            f"{row['refused']:.1%}",
            *(f"{row[figure]:,.0f}" for figure in ("p50_ms", "p99_ms")),
        )
        for row in _raw()["rush"]
    ]
    head = ("times the traffic", "first new replica after, s", "replicas at the end", "refused", "p50 ms", "p99 ms")
    return table(head, rows)


def _circumstances() -> str:
    raw = _raw()
    seconds = raw["replicas"][0]["loads"][0]["seconds"]
    return (
        f"`{raw['model']}` {raw['version']}, n=1 run of {seconds:.0f} s at each load, {len(raw['replicas'])} replicas; "
        f"{raw['machine']}; {raw['date'][:10]}; commit {raw['commit']}. Raw: `load_tests/results/{RAW.name}`."
    )


def _raw() -> Findings:
    found: Findings = record.read(RAW)
    return found
