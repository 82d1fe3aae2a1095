"""Hold the simulation of replicas to a measured run of two of them, one on each processor.

Run:    python -m load_tests.capacity [--model cats-vs-dogs] [--seconds 30] [--out FILE]
Needs:  a quiet machine with two processors; four minutes.
Gives:  --out, the raw results: for each replica the times of images that had it to themselves, its rate in full
        batches, and the times of every answer at three loads; then what the simulation says of them. A line for each.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from load_tests import record, servers
from load_tests.capacity import replica_run
from load_tests.capacity.replica_run import Plan
from load_tests.capacity.simulation import Autoscaler, Fleet, Outcome, Size, at_random, simulate
from load_tests.generators.target import post
from load_tests.pictures import jpegs
from load_tests.record import Findings
from load_tests.workload import IMAGES, SAMPLE, VERSIONS, measured_store

LOADS = (0.5, 0.7, 0.85)
LIBRARIES = ("bentoml", "openvino", "pillow", "simplejpeg", "numpy")
BUSY = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 1.05)
SIMULATED_S = 200.0  # long enough that chance moves a 99th percentile by a few per cent
TEN = 10
RUSHES = (1.3, 1.5, 2.0, 3.0)  # times the traffic before
RUSH_AT_S, RUSH_S = 60.0, 120.0


def main() -> int:
    options = _parser().parse_args()
    raw = record.read(options.again) if options.again else measured(options)
    raw |= {"compared": list(compared(raw)), "curve": list(curve(raw)), "rush": list(rush(raw))}
    record.write(options.out, raw)
    for line in raw["compared"]:
        print(json.dumps(line))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", choices=IMAGES, default="cats-vs-dogs")
    add("--seconds", type=float, default=30, help="of each load (default: %(default)s)")
    add("--calibration", type=float, default=6, help="seconds of each closed loop (default: %(default)s)")
    add("--replicas", type=int, default=2, help="and processors (default: %(default)s)")
    add("--again", type=Path, help="only simulate anew, beside what this raw file measured")
    add("--out", type=Path, default=record.LATEST / "capacity.json", help="default: %(default)s")
    return parser


def measured(options: argparse.Namespace) -> Findings:
    """Start a replica on each processor, and measure all at once."""
    processors = sorted(os.sched_getaffinity(0))[: options.replicas]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        requests = _requests(options.model, Path(folder))
        store = measured_store(record.ROOT / "models", Path(folder, "models"))
        replicas = [stack.enter_context(_replica(store, processor)) for processor in processors]
        plans = [
            Plan(int(replica.url.rpartition(":")[2]), processor, requests, LOADS, options.calibration, options.seconds)
            for replica, processor in zip(replicas, processors, strict=True)
        ]
        found = _in_step(plans)
        memory = [round(replica.memory_bytes() / 1e6) for replica in replicas]
    about = {"model": options.model, "version": VERSIONS[options.model], "images": IMAGES[options.model]}
    return record.circumstances(LIBRARIES) | about | {"memory_mb": memory, "replicas": found}


@contextmanager
def _replica(store: Path, processor: int) -> Iterator[servers.Server]:
    """A server on one processor, which it takes for all there are."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {processor})
    with servers.sightline(MODELS=str(store), MAX_BATCH=str(Fleet(1).max_batch)) as server:
        os.sched_setaffinity(0, before)
        yield server


def _requests(model: str, folder: Path) -> list[list[bytes]]:
    path = f"/v1/models/{model}/predict"
    return [
        [post(path, one.body, one.media_type) for one in jpegs(folder / f"{size[0]}", size, SAMPLE)]
        for size in IMAGES[model]
    ]


def _in_step(plans: Sequence[Plan]) -> list[Findings]:
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(len(plans)) as pool:
        together = manager.Barrier(len(plans))
        return pool.starmap(replica_run.run, [(plan, together, seed) for seed, plan in enumerate(plans)], chunksize=1)


def compared(raw: Findings) -> Iterator[Findings]:
    """For each load: what was measured of all replicas, what the simulation says, and the one divided by the other."""
    for rows in zip(*(replica["loads"] for replica in raw["replicas"]), strict=True):
        took_ms = sorted(ms for row in rows for ms in row["took_ms"])
        seen = {
            "per_s": sum(row["answered"] / row["seconds"] for row in rows),
            "p50_ms": statistics.median(took_ms),
            "p99_ms": took_ms[math.ceil(0.99 * len(took_ms)) - 1],
        }
        offered = sum(row["offered_per_s"] for row in rows)
        said = figures(simulate(Fleet(len(rows)), sizes_of(raw), at_random(offered, SIMULATED_S)))
        ratios = {name: round(said[name] / seen[name], 3) for name in seen}
        measured = {name: round(value, 2) for name, value in seen.items()}
        yield {
            "load": rows[0]["load"],
            "offered_per_s": round(offered, 1),
            "measured": measured,
            "simulated": said,
            "ratio": ratios,
        }


def curve(raw: Findings) -> Iterator[Findings]:
    """How long answers take as the same replicas get busier."""
    replicas, sizes = len(raw["replicas"]), sizes_of(raw)
    for load in BUSY:
        outcome = simulate(Fleet(replicas), sizes, at_random(load * capacity(raw), SIMULATED_S))
        yield {"load": load, "refused": outcome.refused} | figures(outcome)


def rush(raw: Findings) -> Iterator[Findings]:
    """Ten replicas busy to 0.7, whose traffic grows at once, with an autoscaler that is as late as on Kubernetes."""
    per_s = TEN * 0.7 * capacity(raw) / len(raw["replicas"])
    fleet = Fleet(TEN, autoscaler=Autoscaler(least=TEN, most=10 * TEN))
    for times in RUSHES:
        before = list(at_random(per_s, RUSH_AT_S))
        after = [RUSH_AT_S + moment for moment in at_random(times * per_s, RUSH_S, seed=1)]
        outcome = simulate(fleet, sizes_of(raw), [*before, *after])
        ready = [moment for moment, replicas in outcome.replicas if moment > RUSH_AT_S and replicas > TEN]
        shares = {"refused": round(outcome.refused / (len(before) + len(after)), 4)}
        settled = {"first_ready_s": round(ready[0] - RUSH_AT_S, 1) if ready else None}
        yield {"times": times, "replicas": outcome.replicas[-1][1]} | shares | settled | figures(outcome)


def figures(outcome: Outcome) -> Findings:
    return {
        "per_s": round(outcome.answered_per_s, 2),
        "p50_ms": round(outcome.percentile_ms(50), 2),
        "p99_ms": round(outcome.percentile_ms(99), 2),
    }


def capacity(raw: Findings) -> float:
    """Images a second of all replicas, in full batches of all sizes."""
    return float(sum(replica["capacity_per_s"] for replica in raw["replicas"]))


def sizes_of(raw: Findings) -> list[Size]:
    """What images of each size cost a replica, by all that were measured."""
    by_size = list(zip(*(replica["sizes"] for replica in raw["replicas"]), strict=True))
    return [
        Size(
            1 / len(by_size),
            [ms / 1000 for one in several for ms in one["alone_ms"]],
            statistics.fmean(one["full_ms"] for one in several) / 1000,
        )
        for several in by_size
    ]


if __name__ == "__main__":
    sys.exit(main())
