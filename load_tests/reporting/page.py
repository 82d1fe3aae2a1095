"""The raw results in load_tests/results/ as pages: `make docs` writes them into docs/performance.md and README.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from classifier.card import Precision
from load_tests import record
from load_tests.generators.arrivals import STEPS
from load_tests.peers import OURS, PEERS
from load_tests.reporting import targets
from load_tests.reporting.figures import (
    SPACED,
    Case,
    Limit,
    Raw,
    Results,
    Row,
    best,
    in_process,
    middle_rounds,
)
from load_tests.reporting.gpu import gpu_section
from load_tests.reporting.tables import table
from load_tests.reporting.targets import Target

NOT_YET = ["Not measured yet: `make limit peers soak`."]


def performance(results: Results) -> list[str]:
    """All of docs/performance.md."""
    rows, limits = best(results.peers), in_process(results.limit)
    parts = {
        "## Ours beside others": [*comparison(rows, limits), *conditions(results.peers)],
        "## What is missed": missed(targets.every(results)),
        "## Without HTTP": [*limit_table(rows, limits), *conditions(results.limit)],
        "## bfloat16": [
            *precision_table(results.precisions, "bfloat16"),
            *parts_run({"precisions": results.precisions}),
        ],
        "## int8": [
            *precision_table(results.int8_network, "int8"),
            *served_table(results.int8),
            *parts_run({"the network": results.int8_network, "over HTTP": results.int8}),
            *_INT8,
            *served_table(results.int8_http),
            *parts_run({"over HTTP": results.int8_http}),
        ],
        "## On a GPU": gpu_section(results.gpu),
        "## At half of capacity": [*half_table(results.soak), *_AT_HALF],
        "## Start, memory and client": [*facts(targets.process(results.soak)), *parts_run(results.soak)],
        "## What it survives": [*facts(targets.survival(results.chaos)), *_GOODPUT, *parts_run(results.chaos)],
    }
    head = ["# Speed", "", measured_versions(results), "", *_INTRODUCTION]
    return [*head, *(line for title, lines in parts.items() for line in ("", title, "", *lines))]


def missed(every: Sequence[Target]) -> list[str]:
    """How many targets there are, and those that are not reached."""
    if not every:
        return NOT_YET
    failed = [target for target in every if not target.kept]
    head = f"{len(failed)} of {len(every)} targets. `python -m load_tests.reporting` prints all of them."
    return [head, "", *(f"- {target.name}: {target.measured:.4g}, wanted {target.bound}." for target in failed)]


def facts(found: Iterable[Target]) -> list[str]:
    """A row for each figure."""
    rows = [(target.name, f"{target.measured:.4g}") for target in found]
    return table(("what", "measured"), rows) if rows else NOT_YET


def measured_versions(results: Results) -> str:
    """A sentence that names the versions that were compared; empty where there was no run."""
    runs = (results.peers or {"runs": []})["runs"]
    named = ", ".join(sorted({f"`{run['model']}` {run['version']}" for run in runs}))
    return f"Measured: {named}. They are the articles' networks, not the newest versions." if named else ""


def summary(results: Results) -> list[str]:
    """The README's part: images, connections, and every server's requests per second and 99th percentile."""
    rows = best(results.peers)
    if not rows:
        return NOT_YET
    cells = {
        (row.model, row.image, row.connections, row.peer): f"{row.per_s:,.0f} ({row.p99_ms:,.0f} ms)" for row in rows
    }
    peers = [peer for peer in PEERS if any(row.peer == peer for row in rows)]
    loads = dict.fromkeys(row[:3] for row in rows)
    lines = [
        [f"`{model}`", image, str(n), *(cells.get((model, image, n, peer), "-") for peer in peers)]
        for model, image, n in loads
    ]
    head = [measured_versions(results), "Requests a second, and the 99th percentile of their time:", ""]
    return [*head, *table(("model", "image", "connections", *peers), lines), *conditions(results.peers)]


def comparison(rows: Sequence[Row], limits: Mapping[Case, Limit]) -> list[str]:
    """One row a server and load, with ours as a multiple of it and, of every server, its share of the limit."""
    if not rows:
        return NOT_YET
    ours = {row[:3]: row.per_s for row in rows if row.peer == OURS}
    head = ("model", "image", "connections", "server", "req/s", "p50 ms", "p99 ms", "failures", "memory MB")
    lines = []
    for row in rows:
        limit = limits.get(row[:2])
        lines.append(
            [
                *(f"`{row.model}`", row.image, str(row.connections), _server(row), f"{row.per_s:,.0f}"),
                *(f"{row.p50_ms:.2f}", f"{row.p99_ms:.2f}", str(row.failures), f"{row.memory_mb:.0f}"),
                _ratio(ours.get(row[:3]), row.per_s),
                _ratio(row.per_s, limit and limit.both_per_s),
            ]
        )
    legend = [f"- {peer}: {PEERS[peer].about}." for peer in PEERS if any(row.peer == peer for row in rows)]
    return [*table((*head, "ours ÷ it", "it ÷ limit"), lines), "", *legend]


def limit_table(rows: Sequence[Row], limits: Mapping[Case, Limit]) -> list[str]:
    """One row an image size: the limits, and our latency on one connection beside them."""
    if not limits:
        return NOT_YET
    one = {row[:2]: row.p50_ms for row in rows if row.peer == OURS and row.connections == 1}
    head = ("model", "image", "decode/s", "network/s", "both/s", "batch", "one image ms", "over HTTP ms", "ratio")
    lines = []
    for (model, image), limit in limits.items():
        served = one.get((model, image))
        speeds = (f"{speed:,.0f}" for speed in limit[:3])
        over_http = "-" if served is None else f"{served:.2f}"
        lines.append(
            [
                f"`{model}`",
                image,
                *speeds,
                str(limit.batch),
                f"{limit.latency_ms:.2f}",
                over_http,
                _ratio(served, limit.latency_ms),
            ]
        )
    return table(head, lines)


def precision_table(precisions: Raw | None, reduced: Precision) -> list[str]:
    """One row a version: images a second of the network alone in both precisions, medians over the rounds."""
    if not precisions:
        return []
    rows = []
    for one in precisions["versions"]:
        plain, less = (statistics.median(one["per_s"][name]) for name in ("float32", reduced))
        rows.append([f"`{one['model']}` {one['version']}", f"{plain:,.0f}", f"{less:,.0f}", f"{less / plain:.2f}"])
    rounds = len(precisions["versions"][0]["per_s"]["float32"])
    n = f"n={rounds} rounds x {precisions['seconds']:g} s, medians"
    how = f"Images a second of the network alone, in batches of {precisions['batch']}; {n}."
    how += f" {precisions['note']}" if "note" in precisions else ""
    return [*table(("version", "float32", reduced, f"{reduced} ÷ float32"), rows), "", how]


def served_table(raw: Raw | None) -> list[str]:
    """One row a load: requests a second of a server that chose the precision beside one that was held to another."""
    if not raw:
        return []
    rows, models = [], raw["models"]
    for one in raw["comparisons"]:
        model = models[one["model"]]
        low, high = one["interval"]
        load = (f"`{one['model']}` {model['version']}", one["image"], str(one["connections"]))
        speeds = (
            f"{model['precision']} {one['ours_per_s']:,.0f}",
            f"{model['other_precision']} {one['other_per_s']:,.0f}",
        )
        rows.append([*load, *speeds, f"{one['ratio_of_medians']:.2f}", f"{low:.2f} to {high:.2f}"])
    pairs = len(raw["comparisons"][0]["pair_ratios"])
    how = f"Requests a second over HTTP, n={pairs} x {raw['seconds']:g} s, medians. The last column holds the median"
    head = ("version", "image", "connections", "as served", "held to", "ratio", "median of pairs")
    return ["", *table(head, rows), "", f"{how} of the pairs' ratios, with 95 % confidence."]


def conditions(raw: Raw | None) -> list[str]:
    """The machine, dates, commits, repetitions and versions of the runs that are shown."""
    if not raw or not raw["runs"]:
        return []
    kept = [raw["sessions"][number] for number in sorted({run["session"] for run in raw["runs"]})]
    versions: dict[str, str] = {}
    for session in kept:
        versions |= record.libraries(session)
    rounds = _rounds(raw["runs"])
    ours = [run for run in raw["runs"] if run.get("peer", OURS) == OURS]
    precisions = ", ".join(sorted({f"{run['model']} {run['version']} in {run['precision']}" for run in ours}))
    shown = ", ".join(f"{name} {version}" for name, version in versions.items())
    how = f"n={rounds} x {_each(kept, 'seconds')} s, medians; {_each(kept, 'machine')}"
    return ["", f"{how}; {_each(kept, 'date', 10)}; commit {_each(kept, 'commit')}; {precisions}; {shown}."]


def half_table(soak: Raw | None) -> list[str]:
    """A row for each image size and kind of arrivals: its times, and the steps that they went to."""
    if not soak or "half" not in soak:
        return NOT_YET
    head = ("model", "image", "arrivals", "req/s", "one connection, p50 ms", "p50 ms", "p99 ms", *STEPS, "rest")
    lines = []
    for spaced, row in middle_rounds(soak["half"]["rows"]):
        seen = row[spaced]
        steps, slowest = seen["steps_ms"], seen["slowest_steps_ms"]
        lines.append(
            [
                *(f"`{row['model']}`", row["image"], SPACED[spaced], f"{seen['offered_per_s']:,.0f}"),
                *(f"{ms:.2f}" for ms in (row["one"]["p50_ms"], seen["p50_ms"], seen["p99_ms"])),
                *(f"{steps[step]:.2f} ({slowest[step]:.2f})" for step in steps),
            ]
        )
    rounds = f"n={max(row['round'] for row in soak['half']['rows'])} rounds x {soak['half']['seconds']} s"
    return [*table(head, lines), "", f"{rounds}, each row of the one with the median p99."]


def _rounds(runs: Sequence[Raw]) -> str:
    """How often each was measured: the most, and the servers that were measured less often."""
    seen: dict[str, set[int]] = {}
    for run in runs:
        seen.setdefault(run.get("peer", OURS), set()).add(run["round"])
    most = max(map(len, seen.values()))
    fewer = ", ".join(f"{peer} {len(rounds)}" for peer, rounds in seen.items() if len(rounds) < most)
    return f"{most} rounds ({fewer})" if fewer else f"{most} rounds"


def parts_run(parts: Mapping[str, Raw | None] | None) -> list[str]:
    """The date, commit and machine of each part that has been run."""
    kept = {
        name: f"{run['date'][:10]}, commit {run['commit']}, {run['machine']}"
        for name, run in (parts or {}).items()
        if run
    }
    return ["", *(f"- {name}: {about}." for name, about in kept.items())] if kept else []


def _each(sessions: Iterable[Raw], field: str, length: int | None = None) -> str:
    return ", ".join(dict.fromkeys(str(session[field])[:length] for session in sessions))


def _server(row: Row) -> str:
    return (
        row.peer if len(PEERS[row.peer].workers) == 1 else f"{row.peer}, {row.workers} worker{'s' * (row.workers > 1)}"
    )


def _ratio(ours: float | None, theirs: float | None) -> str:
    return f"{ours / theirs:.2f}" if ours is not None and theirs else "-"


_INTRODUCTION = """\
Written by `make docs` from `load_tests/results/`. `make peers`, `make limit` and `make soak` measure anew; so do the
other commands in [operating](operating.md).

- Every server serves the same exported network, with the same decoding and precision, on OpenVINO.
  `fastapi-keras` runs Keras instead.
- Ours runs several batches at once. Each worker of the others runs one batch on the processors it has.
- A sample of each server's answers was compared with the offline predictor's before it was timed.
- wrk runs in one thread beside the server. It posts 40 different JPEGs in turn.
  Each connection sends the next when the last is answered.
- One server runs at a time, after a second of warm-up. Each round goes through all of them.
- Of one and two workers the better is shown. Memory is that of all processes, shared pages counted once.
- A slow server answers fewer requests than there are connections. Its times end at the seconds measured.
""".splitlines()

_INT8 = """
That machine has no native bfloat16. On one that has both, int8 is 1.61 times as fast as bfloat16 in process
([measured](tuning.md#int8)). Over HTTP, below, decoding, server and load generator take part of both processors.
[Where the rest goes](tuning.md#int8).
""".splitlines()

_AT_HALF = """
Half of capacity is half of what 32 connections get. Steps are mean milliseconds of all requests and, in brackets, of
the slowest hundredth. The server gives them in `Server-Timing`. The rest is HTTP, the event loop and waiting for a
processor, on both sides. [Why these times are what they are](tuning.md#half-of-capacity).
""".splitlines()

_GOODPUT = """
Goodput counts right answers, of whatever picture. It can exceed capacity: more thumbnails than photos are let in.
""".splitlines()
