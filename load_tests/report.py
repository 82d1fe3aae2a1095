"""The raw results in load_tests/results/ as tables: `make docs` writes them into docs/performance.md and README.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from load_tests import bars, record
from load_tests.arrivals import STEPS
from load_tests.peers import OURS, PEERS

NOT_YET = ["Not measured yet: `make limit peers soak`."]


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


Place = tuple[str, str]  # model and image
Raw = Mapping[str, Any]


class Results(NamedTuple):
    """All raw results; None where there was no run."""

    peers: Raw | None
    limit: Raw | None
    soak: Raw | None
    chaos: Raw | None = None
    client: Raw | None = None
    page: Raw | None = None
    profile: Raw | None = None
    precisions: Raw | None = None

    @classmethod
    def read(cls, folder: Path = record.RESULTS) -> Results:
        return cls(*(record.read(folder / f"{name}.json") for name in cls._fields))


def page(results: Results) -> list[str]:
    """All of docs/performance.md."""
    rows, limits = best(results.peers), in_process(results.limit)
    parts = {
        "## Ours beside others": [*comparison(rows, limits), *conditions(results.peers)],
        "## Without HTTP": [*limit_table(rows, limits), *conditions(results.limit)],
        "## bfloat16": [
            *precision_table(results.precisions),
            *bars.bfloat16(results.precisions),
            *parts_run({"precisions": results.precisions}),
        ],
        "## What was aimed at": [*bars.speed(rows, limits, results.soak), *parts_run(results.soak)],
        "## At half of capacity": [*half_table(results.soak), *_AT_HALF],
        "## Where the event loop's time goes": [*profiled(results.profile), *parts_run(results.profile)],
        "## What it survives": [*bars.survival(results.chaos), *_GOODPUT, *parts_run(results.chaos)],
        "## Client and page": [
            *bars.doors(results.client, results.page),
            *parts_run({"client": results.client, "page": results.page}),
        ],
    }
    head = ["# Speed", "", *_INTRODUCTION]
    return [*head, *(line for title, lines in parts.items() for line in ("", title, "", *lines))]


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
    told = ["Requests a second, and the 99th percentile of their time:", ""]
    return [*told, *table(("model", "image", "connections", *peers), lines), *conditions(results.peers)]


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


def in_process(limit: Raw | None) -> dict[Place, Limit]:
    runs: dict[Place, list[Raw]] = {}
    for run in (limit or {"runs": []})["runs"]:
        runs.setdefault((run["model"], run["image"]), []).append(run)
    return {place: _limit(found) for place, found in runs.items()}


def _limit(runs: Sequence[Raw]) -> Limit:
    def at_best(name: str) -> tuple[float, int]:
        return max((statistics.median(run[name][size] for run in runs), int(size)) for size in runs[0][name])

    decode = statistics.median(run["decode_per_s"] for run in runs)
    latency = statistics.median(run["latency_ms"]["p50"] for run in runs)
    both, batch = at_best("both_per_s")
    return Limit(decode, at_best("infer_per_s")[0], both, batch, latency)


def comparison(rows: Sequence[Row], limits: Mapping[Place, Limit]) -> list[str]:
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


def limit_table(rows: Sequence[Row], limits: Mapping[Place, Limit]) -> list[str]:
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


def precision_table(precisions: Raw | None) -> list[str]:
    """One row a version: images a second of the network alone in each precision, medians over the rounds."""
    if not precisions:
        return []
    rows = []
    for one in precisions["versions"]:
        plain, reduced = (statistics.median(one["per_s"][name]) for name in ("float32", "bfloat16"))
        rows.append(
            [f"`{one['model']}` {one['version']}", f"{plain:,.0f}", f"{reduced:,.0f}", f"{reduced / plain:.2f}"]
        )
    rounds = len(precisions["versions"][0]["per_s"]["float32"])
    n = f"n={rounds} rounds x {precisions['seconds']:g} s, medians"
    how = f"Images a second of the network alone, in batches of {precisions['batch']}; {n}."
    return [*table(("version", "float32", "bfloat16", "bfloat16 ÷ float32"), rows), "", how, ""]


def conditions(raw: Raw | None) -> list[str]:
    """The machine, dates, commits, repetitions and versions of the runs that are told."""
    if not raw or not raw["runs"]:
        return []
    told = [raw["sessions"][number] for number in sorted({run["session"] for run in raw["runs"]})]
    versions: dict[str, str] = {}
    for session in told:
        versions |= record.libraries(session)
    rounds = _rounds(raw["runs"])
    ours = [run for run in raw["runs"] if run.get("peer", OURS) == OURS]
    precisions = ", ".join(sorted({f"{run['model']} {run['version']} in {run['precision']}" for run in ours}))
    shown = ", ".join(f"{name} {version}" for name, version in versions.items())
    how = f"n={rounds} x {_each(told, 'seconds')} s, medians; {_each(told, 'machine')}"
    return ["", f"{how}; {_each(told, 'date', 10)}; commit {_each(told, 'commit')}; {precisions}; {shown}."]


def half_table(soak: Raw | None) -> list[str]:
    """A row for each image size and kind of arrivals: its times, and the steps that they went to."""
    if not soak or "half" not in soak:
        return NOT_YET
    head = ("model", "image", "arrivals", "req/s", "one connection, p50 ms", "p50 ms", "p99 ms", *STEPS, "rest")
    lines = []
    for spaced, row in bars.middle_rounds(soak["half"]["rows"]):
        seen = row[spaced]
        steps, slowest = seen["steps_ms"], seen["slowest_steps_ms"]
        lines.append(
            [
                *(f"`{row['model']}`", row["image"], bars.SPACED[spaced], f"{seen['offered_per_s']:,.0f}"),
                *(f"{ms:.2f}" for ms in (row["one"]["p50_ms"], seen["p50_ms"], seen["p99_ms"])),
                *(f"{steps[step]:.2f} ({slowest[step]:.2f})" for step in steps),
            ]
        )
    rounds = f"n={max(row['round'] for row in soak['half']['rows'])} rounds x {soak['half']['seconds']} s"
    return [*table(head, lines), "", f"{rounds}, each row of the one with the median p99."]


def profiled(profile: Raw | None) -> list[str]:
    """A column for each model, and a row for each step of its requests: the share of the samples of the main thread."""
    if not profile:
        return ["Not measured yet."]
    steps = next(iter(profile.values()))["shares"]
    rows = [[step, *(f"{run['shares'][step]:.0%}" for run in profile.values())] for step in steps]
    return table(("at 32 connections", *profile), rows)


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
    told = {
        name: f"{run['date'][:10]}, commit {run['commit']}, {run['machine']}"
        for name, run in (parts or {}).items()
        if run
    }
    return ["", *(f"- {name}: {about}." for name, about in told.items())] if told else []


def _each(sessions: Iterable[Raw], field: str, length: int | None = None) -> str:
    return ", ".join(dict.fromkeys(str(session[field])[:length] for session in sessions))


def _server(row: Row) -> str:
    return (
        row.peer if len(PEERS[row.peer].workers) == 1 else f"{row.peer}, {row.workers} worker{'s' * (row.workers > 1)}"
    )


def _ratio(ours: float | None, theirs: float | None) -> str:
    return f"{ours / theirs:.2f}" if ours is not None and theirs else "-"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


_INTRODUCTION = """\
Written by `make docs` from the raw results in `load_tests/results/`: `peers.json`, `limit.json` and `soak.json`,
which `make peers`, `make limit` and `make soak` measure anew, and those of the commands in [operating](operating.md).
Every server serves the same exported network with the same decoding in the same precision on OpenVINO, but for
`model.predict`; ours prepares the network as it loads it (the pixels' scale goes into the first convolution) and runs
several batches at once where many ask; the others load it as it is, and each of their workers runs one batch on the
processors it has. A sample of each server's answers was compared with the offline predictor's before it was timed.
wrk, in one thread beside it, posts 40 different JPEGs in turn, each connection the next when the last is answered.
One server runs at a time, warmed up for a second; each round goes through all of them. Of the numbers of workers that
were tried, the best is told. Memory is that of all processes of a server, with shared pages counted once. Where a
server answers fewer requests than there are connections, its times are cut off at the seconds that were measured.
""".splitlines()

_AT_HALF = """
Half of capacity is half of what 32 connections get. Steps are mean milliseconds of all requests and, in brackets, of
the slowest hundredth, as the server tells them in `Server-Timing`; the rest is HTTP, the event loop's other work and
waiting for a processor, on both sides. At random times a p99 of 4 medians is hard for anybody: of a queue before one
server that takes exactly one median for each image it is 4.3 at half of its own capacity and 6.5 at two thirds (M/D/1,
simulated, n=300,000). A small network reaches its capacity in batches only: half of what 32 connections get is as much
as one connection gets that asks again at once (`cifar-10`), or twice that (`asl`), so images wait for the batch before.
""".splitlines()

_GOODPUT = """
Goodput counts right answers, of whatever picture. It can be more than capacity: what a flood is let in with need not be
the mix that was sent, and thumbnails take the least.
""".splitlines()
