"""Where the server's event loop spends its time under full load: python -m load_tests.profile [--models asl …]

Starts a server, has wrk load it on 32 connections, and samples the stack of its main thread. Needs wrk and py-spy (`pip
install py-spy`; it is not among our dependencies). Gives --out: the share of the samples in each step.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from load_tests import record, servers
from load_tests.peers import IMAGES, OURS, measure
from load_tests.soak import samples_of

CONNECTIONS, SECONDS, PER_S = 32, 10, 200

# The step of a stack is that of the first of these that it has a frame of.
STEPS = {
    "decoding": ("classifier/images.py",),
    "metrics": ("service/metrics.py", "prometheus_client/", "service/inference/statistics.py"),
    "answering": ("service/api/responses.py", "service/inference/timing.py", "_answer (service/server/fast_path.py"),
    "batching and starting the network": ("service/inference/", "classifier/engines/"),
    "reading HTTP": ("httptools_impl.py", "service/server/", "service/api/middleware.py"),
}
REST = "the loop itself: waiting for sockets and threads"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    results = record.read(options.out) or {}
    with servers.sightline(MODELS=str(options.store)) as server, tempfile.TemporaryDirectory() as folder:
        for sample in samples_of(options.models, Path(folder)):
            target = measure.target(server, OURS, sample, Path(folder, "bodies"))
            measure.load(target, CONNECTIONS, 1)
            load = measure.wrk(target, CONNECTIONS, SECONDS + 2)
            time.sleep(1)
            shares = _sampled(server.worker(), Path(folder, "stacks"))
            found = {"per_s": round(measure.heard(load)["requests"] / (SECONDS + 2), 1), "shares": shares}
            results[f"{sample.model} {sample.size}"] = record.circumstances() | found
            record.write(options.out, results)
            print(sample.model, sample.size, found, flush=True)
    return 0


def shares(stacks: Iterable[str]) -> dict[str, float]:
    """The share of the samples in each step, from lines `frame;frame;… count` of the main thread and others."""
    counts: Counter[str] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        if "uvicorn/server.py" in stack:  # the main thread's
            counts[_step(stack)] += int(count)
    return {step: round(counts[step] / max(1, counts.total()), 3) for step in (*STEPS, REST)}


def _step(stack: str) -> str:
    return next((step for step, marks in STEPS.items() if any(mark in stack for mark in marks)), REST)


def _sampled(pid: int, out: Path) -> dict[str, float]:
    command = ["py-spy", "record", "--pid", str(pid), "--duration", str(SECONDS), "--rate", str(PER_S), "--nonblocking"]
    subprocess.run([*command, "--format", "raw", "--output", str(out)], check=True, capture_output=True)
    return shares(out.read_text().splitlines())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--models", nargs="+", choices=IMAGES, default=["cifar-10", "asl"])
    add("--store", type=Path, default=record.ROOT / "models", help="the model store (default: models/)")
    add("--out", type=Path, default=record.RESULTS / "latest" / "profile.json", help="default: %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
