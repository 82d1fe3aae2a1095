"""Our server on JAX over HTTP: time to ready, images/s and percentiles by connections, memory, use of the GPU."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from load_tests import record, servers, workload
from load_tests.generators.arrivals import Connections
from load_tests.generators.target import post
from load_tests.record import Findings
from load_tests.servers import Server

LOADS = (("cats-vs-dogs", (200, 200)), ("asl", (28, 28)))
READY_WITHIN_S = 240.0
_ASK_GPU = ("nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits")


class Seen(NamedTuple):
    """What one load generator saw: seconds of each right answer, and how many others there were, by status."""

    took_s: list[float]
    others: dict[str, int]


def over_http(options: argparse.Namespace) -> Findings:
    """The measured versions on one server, in the precision it chooses."""
    found: dict[str, Any] = {"generators": options.generators, "left_out": []}
    with tempfile.TemporaryDirectory(prefix="gpu-") as folder:
        store = workload.measured_store(record.ROOT / "models", Path(folder, "models"))
        began = time.monotonic()
        with _server(store, options) as server:
            found["ready_s"] = round(time.monotonic() - began, 1)
            for (model, _), connections in itertools.product(LOADS, options.connections):
                run = f"{model} {connections} connections"
                if time.monotonic() > options.until:
                    found["left_out"].append(run)
                    continue
                bodies = [picture.body for picture in workload.drawn(store, model, Path(folder))[0].sample]
                requests = [post(f"/v1/models/{model}/predict", body, "image/jpeg") for body in bodies]
                with _watched() as gpu:
                    found[run] = _loaded(server, requests, connections, options)
                found[run] |= gpu
                print(run, found[run], file=sys.stderr, flush=True)
            found["memory_mb"] = round(server.memory_bytes() / 1e6, 1)
    return found


@contextlib.contextmanager
def _server(store: Path, options: argparse.Namespace) -> Iterator[Server]:
    port = servers.free_port()
    environ = {name: text for name, text in os.environ.items() if not name.startswith("SIGHTLINE_")}
    given = {"MODELS": str(store), "ENGINE": "jax", "PRECISION": options.precision, "SHUTDOWN_NOTICE_MS": "0"}
    given |= {"MAX_BATCH": "2"} if options.smoke else {}  # each size is compiled before the server is ready
    environ |= {f"SIGHTLINE_{name}": text for name, text in given.items()}
    command = [sys.executable, "-m", "classifier.commands", "serve", "--no-supervisor", "--port", str(port)]
    with servers.started(command, port, environ) as server:
        servers.wait_until(server, lambda: servers.is_ready(server.url), READY_WITHIN_S)
        yield server


def _loaded(server: Server, requests: list[bytes], connections: int, options: argparse.Namespace) -> Findings:
    """In a closed loop, by several processes: one in Python posts some 20,000 requests a second at most."""
    count = min(options.generators, connections)
    each = [connections // count + (number < connections % count) for number in range(count)]
    port = int(server.url.rpartition(":")[2])
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as processes:
        list(processes.map(partial(_posted, port, requests, 0.2), each))  # which imports what they need
        began = time.monotonic()
        seen = list(processes.map(partial(_posted, port, requests, options.seconds), each))
        seconds = time.monotonic() - began
    took_ms = sorted(1000 * took for one in seen for took in one.took_s)
    others = sum((Counter(one.others) for one in seen), Counter())
    return {
        "per_s": round(len(took_ms) / seconds, 1),
        "p50_ms": round(statistics.median(took_ms), 2),
        "p99_ms": round(took_ms[int(0.99 * len(took_ms))], 2),
        "other_answers": dict(others),
    }


def _posted(port: int, requests: list[bytes], seconds: float, connections: int) -> Seen:
    until = time.monotonic() + seconds
    turn = itertools.takewhile(lambda _: time.monotonic() < until, itertools.cycle(requests))
    answers = Connections(port, connections, connections).post(turn, itertools.repeat(0.0))
    right = [answer.took_s for answer in answers if answer.status == "200"]
    return Seen(right, dict(Counter(answer.status for answer in answers if answer.status != "200")))


@contextlib.contextmanager
def _watched() -> Iterator[dict[str, Any]]:
    """What nvidia-smi says meanwhile, filled in at the end; nothing where there is none."""
    found: dict[str, Any] = {}
    if shutil.which("nvidia-smi") is None:
        yield found
        return
    rows: list[Sequence[float]] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.3):
            said = subprocess.run(_ASK_GPU, capture_output=True, text=True, check=False).stdout
            rows.extend([float(part) for part in line.split(",")] for line in said.splitlines()[:1])

    looking = threading.Thread(target=look)
    looking.start()
    yield found
    over.set()
    looking.join()
    if rows:
        found["gpu_utilisation"] = round(statistics.fmean(row[0] for row in rows), 1)
        found["gpu_memory_mb"] = max(row[1] for row in rows)
