"""How our server starts, holds its memory, answers at half of its capacity, and how much of it the client reaches.

Run:    python -m load_tests.soak [--parts boot half memory client] [--minutes 10]
Needs:  wrk; takes about 20 minutes in full.
Gives:  --out, the raw results by part. boot: seconds from process start to ready, three times. half: the 99th
        percentile where half as much comes as 32 connections got, evenly spaced and at random times, with the steps
        that its time went to, beside the median of one connection. memory: the worker's resident memory under full
        load. client: what `Client.predict_many` reaches of the capacity, in turns.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from classifier.store import ModelStore
from load_tests import record, servers, workload
from load_tests.generators import wrk
from load_tests.generators.arrivals import arrivals
from load_tests.generators.target import Target
from load_tests.generators.wrk import Wrk
from load_tests.peers import OURS, measure
from load_tests.pictures import make
from load_tests.record import Findings
from load_tests.servers import Server
from load_tests.workload import IMAGES, Pictures

STARTS = 3
WRITE_EVERY_S = 5.0
LIBRARIES = ("bentoml", "openvino", "pillow", "numpy")
CLIENT_CONNECTIONS = 16  # of single predicts, by which capacity is meant; the client sends groups on half as many
CLIENT_PICTURES = 27

# A program such as a user writes. Its CPU time is the client's own: the server is another process.
PROGRAM = """
import json, sys, time
from pathlib import Path
from service.client import Client, ClientError

url, model, folder, images = sys.argv[1:]
files = sorted(Path(folder).iterdir())
with Client(url) as client:
    client.predict(model, files[0])
    wall, cpu = time.perf_counter(), time.process_time()
    answers = client.predict_many(model, (files[n % len(files)] for n in range(int(images))))
    failed = sum(isinstance(result, ClientError) for _, result in answers)
    print(json.dumps({"s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu, "failed": failed}))
"""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    results = record.read(options.out) or {}
    for part in options.parts:
        results[part] = record.circumstances(LIBRARIES) | PARTS[part](options)
        record.write(options.out, results)
        print(part, results[part], flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    add("--models", nargs="+", choices=IMAGES, default=list(IMAGES))
    add("--seconds", type=int, default=10, help="of each measurement of latency (default: %(default)s)")
    add("--rounds", type=int, default=3, help="of latency and client (default: %(default)s)")
    add("--minutes", type=float, default=10, help="of full load for the memory (default: %(default)s)")
    add("--images", type=int, default=1_000, help="that the client sends in a round (default: %(default)s)")
    add("--store", type=Path, default=record.ROOT / "models", help="the model store (default: models/)")
    add("--out", type=Path, default=record.LATEST / "soak.json", help="default: %(default)s")
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
    """One connection, 32 connections, and then half of what those got, evenly spaced and at random times.

    Measured of the versions in `workload.VERSIONS`.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        store = workload.measured_store(options.store, Path(folder, "models"))
        with _targets(options.models, store, Path(folder)) as targets:
            for number, (pictures, target) in itertools.product(range(1, options.rounds + 1), targets):
                version = ModelStore(store).card(pictures.model).version
                case = {"round": number, "model": pictures.model, "version": version, "image": pictures.size}
                rows.append(case | _half(target, options.seconds))
                print(rows[-1], flush=True)
    return {"seconds": options.seconds, "rows": rows}


def _half(target: Target, seconds: int) -> Findings:
    wrk.load(target, 32, 1)  # everything is warm then
    one = wrk.load(target, 1, seconds)
    capacity = wrk.load(target, 32, seconds)
    rate = capacity["per_s"] / 2
    return {
        "one": one,
        "capacity": capacity,
        "evenly": arrivals(target, seconds, rate, "evenly"),
        "randomly": arrivals(target, seconds, rate, "randomly"),
    }


def memory(options: argparse.Namespace) -> Findings:
    """The worker's resident memory while every core is busy with requests for every model, newest versions."""
    with tempfile.TemporaryDirectory() as folder, _targets(options.models, options.store, Path(folder)) as targets:
        worker = targets[0][1].server.worker()
        before = _resident_mb(worker)
        loads = [Wrk.closed_loop(target, 8, round(60 * options.minutes)) for _, target in targets]
        samples = _sampled(worker, loads)
        said = [load.said() for load in loads]
    rates = {"per_s": round(sum(s["requests"] / s["seconds"] for s in said), 1)}
    return rates | {"failures": sum(s["failures"] for s in said), "before_mb": before, "resident_mb": samples}


def _sampled(worker: int, loads: Sequence[Wrk]) -> list[float]:
    samples = []
    while any(load.is_running for load in loads):
        samples.append(_resident_mb(worker))
        time.sleep(WRITE_EVERY_S)
    return samples


def client(options: argparse.Namespace) -> Findings:
    """In turns what wrk gets on 16 connections, and `Client.predict_many` over a thousand pictures, of one model."""
    model = options.models[-1]  # by default asl, the fastest: there the client's own time counts most
    with tempfile.TemporaryDirectory() as folder, servers.sightline(MODELS=str(options.store)) as server:
        sample = Pictures(model, "mixed", make(Path(folder), CLIENT_PICTURES), {})
        target = measure.target(server, OURS, sample, Path(folder, "bodies"))
        wrk.flood(target, 2, connections=CLIENT_CONNECTIONS)  # everything is warm then
        rounds = [_client_round(target, model, options) for _ in range(options.rounds)]
    how = {"model": model, "n": options.rounds, "images": options.images}
    return how | {"ratio": statistics.median(one["ratio"] for one in rounds), "rounds": rounds}


def _client_round(target: Target, model: str, options: argparse.Namespace) -> Findings:
    capacity = wrk.flood(target, options.seconds, connections=CLIENT_CONNECTIONS)
    asked = (target.server.url, model, str(target.folder), str(options.images))
    command = [sys.executable, "-c", PROGRAM, *asked]
    done = subprocess.run(command, cwd=record.ROOT, check=True, stdout=subprocess.PIPE, text=True)
    said = json.loads(done.stdout)
    client_per_s = options.images / said["s"]
    return {
        "capacity_per_s": capacity["per_s"],
        "client_per_s": round(client_per_s, 1),
        "ratio": round(client_per_s / capacity["per_s"], 3),
        "client_cpu_us_per_image": round(1e6 * said["cpu_s"] / options.images),
        "failed": said["failed"] + sum(n for status, n in capacity["statuses"].items() if status != "200"),
    }


@contextmanager
def _targets(models: Sequence[str], store: Path, folder: Path) -> Iterator[list[tuple[Pictures, Target]]]:
    """A server of the store, and the pictures of every size for each of these models."""

    def target(server: Server, pictures: Pictures) -> Target:
        return measure.target(server, OURS, pictures, folder / "bodies" / f"{pictures.model}-{pictures.size}")

    every = [pictures for model in models for pictures in workload.drawn(store, model, folder)]
    with servers.sightline(MODELS=str(store)) as server:
        yield [(pictures, target(server, pictures)) for pictures in every]


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


PARTS: dict[str, Callable[[argparse.Namespace], Findings]] = {
    "boot": boot,
    "half": half,
    "memory": memory,
    "client": client,
}


if __name__ == "__main__":
    sys.exit(main())
