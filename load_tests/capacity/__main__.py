"""Hold the simulation of replicas to a measured run of two of them, one on each processor.

Run:    python -m load_tests.capacity [--model cats-vs-dogs] [--seconds 60] [--out FILE]
Needs:  a quiet machine with two processors; five minutes.
Gives:  --out, the raw results: for each replica what it takes to handle an image and to run the network, by size, its
        rate in a closed loop, and the times of answers at three loads; then what the simulation says. A line for each.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from classifier.engines import batch_sizes
from classifier.store import ModelStore
from load_tests import record, servers
from load_tests.capacity import replica_run
from load_tests.capacity.replica_run import Plan
from load_tests.capacity.simulation import Arrival, Autoscaler, Costs, Fleet, Outcome, at_random, simulate
from load_tests.generators.target import post
from load_tests.pictures import jpegs
from load_tests.record import Findings
from load_tests.workload import IMAGES, SAMPLE, VERSIONS, measured_store

LOADS = (0.5, 0.7, 0.85)
MAX_BATCH = 16
PLAYS = 5  # of the same arrivals, with other costs drawn
LIBRARIES = ("bentoml", "openvino", "pillow", "simplejpeg", "numpy")
BUSY = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.05)
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
    add("--seconds", type=float, default=60, help="of each load (default: %(default)s)")
    add("--calibration", type=float, default=6, help="seconds of each closed loop (default: %(default)s)")
    add("--replicas", type=int, default=2, help="and processors (default: %(default)s)")
    add("--again", type=Path, help="only simulate anew, beside what this raw file measured")
    add("--out", type=Path, default=record.LATEST / "capacity.json", help="default: %(default)s")
    return parser


def measured(options: argparse.Namespace) -> Findings:
    """Start a replica on each processor, and measure all at once."""
    processors = sorted(os.sched_getaffinity(0))[: options.replicas]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        store = measured_store(record.ROOT / "models", Path(folder, "models"))
        requests, batches = _requests(options.model, Path(folder)), _batches(options.model, store)
        replicas = [stack.enter_context(_replica(store, processor)) for processor in processors]
        plan = Plan(0, 0, requests, batches, LOADS, options.calibration, options.seconds)
        plans = [
            plan._replace(port=int(replica.url.rpartition(":")[2]), processor=processor)
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
    with servers.sightline(MODELS=str(store), MAX_BATCH=str(MAX_BATCH)) as server:
        os.sched_setaffinity(0, before)
        yield server


def _requests(model: str, folder: Path) -> list[list[bytes]]:
    path = f"/v1/models/{model}/predict"
    return [
        [post(path, one.body, one.media_type) for one in jpegs(folder / f"{size[0]}", size, SAMPLE)]
        for size in IMAGES[model]
    ]


def _batches(model: str, store: Path) -> dict[int, bytes]:
    """Requests for one batch of each size, as pixels, so that nothing is decoded while the network runs."""
    height, width, channels = ModelStore(store).card(model).input.shape
    chance, requests = random.Random(0), {}
    for images in batch_sizes(MAX_BATCH):
        pixels = chance.randbytes(images * height * width * channels)
        tensor = {"name": "image", "datatype": "UINT8", "shape": [images, height, width, channels]}
        head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": len(pixels)}}]}).encode()
        media_type = f"application/octet-stream\r\nInference-Header-Content-Length: {len(head)}"
        requests[images] = post(f"/v2/models/{model}/infer", head + pixels, media_type)
    return requests


def _in_step(plans: Sequence[Plan]) -> list[Findings]:
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(len(plans)) as pool:
        together = manager.Barrier(len(plans))
        return pool.starmap(replica_run.run, [(plan, together, seed) for seed, plan in enumerate(plans)], chunksize=1)


def compared(raw: Findings) -> Iterator[Findings]:
    """For each load: what was measured of all replicas, what the simulation says, and the one divided by the other.

    Each replica is simulated with what it was measured to take, and the same arrivals.
    """
    replicas = raw["replicas"]
    for rows in zip(*(replica["loads"] for replica in replicas), strict=True):
        took_ms = sorted(ms for row in rows for ms in row["took_ms"])
        seen = {
            "per_s": sum(row["answered"] / row["seconds"] for row in rows),
            "p50_ms": statistics.median(took_ms),
            "p99_ms": took_ms[math.ceil(0.99 * len(took_ms)) - 1],
        }
        said = figures(_together([_played(replica, row) for replica, row in zip(replicas, rows, strict=True)]))
        ratios = {name: round(said[name] / seen[name], 3) for name in seen}
        measured = {name: round(value, 2) for name, value in seen.items()}
        yield {
            "load": rows[0]["load"],
            "offered_per_s": round(sum(row["arrivals"]["per_s"] for row in rows), 1),
            "measured": measured,
            "simulated": said,
            "ratio": ratios,
        }


def _played(replica: Findings, row: Findings) -> Outcome:
    arrivals = list(at_random(**row["arrivals"]))
    plays = [simulate(Fleet(1), costs_of([replica]), arrivals, seed) for seed in range(PLAYS)]
    took_s = [took for play in plays for took in play.took_s]
    return Outcome(took_s, sum(play.refused for play in plays), sum(play.ended_s for play in plays), [])


def _together(outcomes: Sequence[Outcome]) -> Outcome:
    """Of replicas beside each other."""
    took_s = [took for outcome in outcomes for took in outcome.took_s]
    per_s = sum(outcome.answered_per_s for outcome in outcomes)
    return Outcome(took_s, sum(outcome.refused for outcome in outcomes), len(took_s) / per_s, [])


def curve(raw: Findings) -> Iterator[Findings]:
    """How long answers take as the same replicas get busier."""
    replicas = raw["replicas"]
    per_s, sizes = sum(replica["capacity_per_s"] for replica in replicas), len(replicas[0]["sizes"])
    for load in BUSY:
        outcome = simulate(Fleet(len(replicas)), costs_of(replicas), at_random(load * per_s, SIMULATED_S, sizes))
        yield {"load": load, "refused": outcome.refused} | figures(outcome)


def rush(raw: Findings) -> Iterator[Findings]:
    """Ten replicas busy to 0.7, whose traffic grows at once, with an autoscaler that is as late as on Kubernetes."""
    costs = costs_of(raw["replicas"])
    sizes = len(costs.handling_s)
    per_s = TEN * 0.7 / cost_s(costs)
    fleet = Fleet(TEN, autoscaler=Autoscaler(least=TEN, most=10 * TEN))
    for times in RUSHES:
        before = list(at_random(per_s, RUSH_AT_S, sizes))
        after = [
            Arrival(RUSH_AT_S + moment_s, size) for moment_s, size in at_random(times * per_s, RUSH_S, sizes, seed=1)
        ]
        outcome = simulate(fleet, costs, [*before, *after])
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


def costs_of(replicas: Sequence[Findings]) -> Costs:
    """What images cost these replicas, by all that were measured."""
    sizes = zip(*(replica["sizes"] for replica in replicas), strict=True)
    return Costs(
        [[ms / 1000 for one in several for ms in one["handling_ms"]] for several in sizes],
        {
            int(images): [ms / 1000 for replica in replicas for ms in replica["network_ms"][images]]
            for images in replicas[0]["network_ms"]
        },
    )


def cost_s(costs: Costs) -> float:
    """Seconds of its processor that a replica takes for an image that comes alone, in the mean."""
    handling_s = statistics.fmean(statistics.fmean(several) for several in costs.handling_s)
    return handling_s + statistics.fmean(costs.network_s[1])


if __name__ == "__main__":
    sys.exit(main())
