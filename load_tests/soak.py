"""How our server starts, holds its memory under full load, and answers at half of its capacity.

Run:    python -m load_tests.soak [--parts boot half memory] [--minutes 10]
Needs:  wrk; takes about 20 minutes in full.
Gives:  --out, the raw results: seconds from process start to ready, three times; the 99th percentile where half as much
        comes as 32 connections got, however long each takes (evenly spaced, and at random times), with the steps
        that its time went to, beside the median of one connection; the worker's resident memory.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from load_tests import pictures, record, servers
from load_tests.arrivals import arrivals
from load_tests.peers import IMAGES, OURS, measure
from load_tests.peers.measure import Pictures, Target
from load_tests.record import Findings

STARTS = 3
SAMPLE = 40
WRITE_EVERY_S = 5.0
GREY = ("asl",)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    results = record.read(options.out) or {}
    for part in options.parts:
        circumstances = record.circumstances(("bentoml", "openvino", "pillow", "numpy"))
        results[part] = circumstances | PARTS[part](options)
        record.write(options.out, results)
        print(part, results[part], flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    add("--models", nargs="+", choices=IMAGES, default=list(IMAGES))
    add("--seconds", type=int, default=10, help="of each measurement of latency (default: %(default)s)")
    add("--rounds", type=int, default=3, help="of the latency at half of capacity (default: %(default)s)")
    add("--minutes", type=float, default=10, help="of full load for the memory (default: %(default)s)")
    add("--store", type=Path, default=record.ROOT / "models", help="the model store (default: models/)")
    add("--out", type=Path, default=record.RESULTS / "latest" / "soak.json", help="default: %(default)s")
    return parser


def boot(options: argparse.Namespace) -> Findings:
    """From the start of the process until /readyz says 200 with every model of the store."""
    took_s = []
    for _ in range(STARTS):
        began = time.monotonic()
        with servers.sightline(MODELS=str(options.store)):
            took_s.append(round(time.monotonic() - began, 2))
    return {"ready_s": took_s}


def half(options: argparse.Namespace) -> Findings:
    """One connection, 32 connections, and then half of what those got, evenly spaced and at random times."""
    rows = []
    with servers.sightline(MODELS=str(options.store)) as server, tempfile.TemporaryDirectory() as folder:
        samples = samples_of(options.models, Path(folder))
        for number, sample in itertools.product(range(1, options.rounds + 1), samples):
            target = measure.target(server, OURS, sample, Path(folder, "bodies"))
            rows.append({"round": number} | _half(target, options.seconds))
            print(rows[-1], flush=True)
    return {"seconds": options.seconds, "rows": rows}


def _half(target: Target, seconds: int) -> Findings:
    measure.load(target, 32, 1)  # everything is warm then
    one = measure.load(target, 1, seconds)
    capacity = measure.load(target, 32, seconds)
    rate = capacity["per_s"] / 2
    return {
        "model": target.pictures.model,
        "image": target.pictures.size,
        "one": one,
        "capacity": capacity,
        "evenly": arrivals(target, seconds, rate, "evenly"),
        "randomly": arrivals(target, seconds, rate, "randomly"),
    }


def memory(options: argparse.Namespace) -> Findings:
    """The worker's resident memory while every core is busy with requests for every model."""
    with servers.sightline(MODELS=str(options.store)) as server, tempfile.TemporaryDirectory() as folder:
        worker, seconds = server.worker(), round(60 * options.minutes)
        before = _resident_mb(worker)
        loads = []
        for number, sample in enumerate(samples_of(options.models, Path(folder))):
            loads.append(measure.wrk(measure.target(server, OURS, sample, Path(folder, str(number))), 8, seconds))
        samples = _sampled(worker, loads)
        said = [measure.heard(wrk) for wrk in loads]
    rates = {"per_s": round(sum(s["requests"] / s["seconds"] for s in said), 1)}
    return rates | {"failures": sum(s["failures"] for s in said), "before_mb": before, "resident_mb": samples}


def _sampled(worker: int, loads: Sequence[subprocess.Popen[str]]) -> list[float]:
    samples = []
    while any(load.poll() is None for load in loads):
        samples.append(_resident_mb(worker))
        time.sleep(WRITE_EVERY_S)
    return samples


def samples_of(models: Sequence[str], folder: Path) -> list[Pictures]:
    """The pictures of every size for each of these models."""
    return [
        Pictures(
            model,
            f"{width}x{height}",
            pictures.jpegs(folder / f"{model}-{width}", (width, height), SAMPLE, grey=model in GREY),
            {},
        )
        for model in models
        for width, height in IMAGES[model]
    ]


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


PARTS: dict[str, Callable[[argparse.Namespace], Findings]] = {"boot": boot, "half": half, "memory": memory}


if __name__ == "__main__":
    sys.exit(main())
