"""Our server on JAX over HTTP: time to ready, images/s and percentiles by connections, memory, use of the GPU.

Several servers share a port, as docs/operating.md has it for a fast GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from classifier.store import ModelStore
from load_tests import pictures, record, servers
from load_tests.generators.arrivals import Connections
from load_tests.generators.target import post
from load_tests.record import Findings
from load_tests.servers import Server

SAMPLE = 40  # different pictures
SIDES = {"cats-vs-dogs": 200}  # of a photo; others are as large as their network takes them
READY_WITHIN_S = 150.0  # on JAX they compile what was not compiled before
ANSWER_WITHIN_S = 4.0
LEAST_S = 10.0  # in which something can be found out
_ASK_GPU = ("nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits")


class Seen(NamedTuple):
    """What one load generator saw: seconds of each right answer, and how many others there were, by status."""

    took_s: list[float]
    others: dict[str, int]


def over_http(options: argparse.Namespace, count: int, until: float, found: Findings, keep: Callable[[], None]) -> None:
    """The served versions on `count` servers, in the precision of the options, until a moment of the monotonic clock.

    What goes wrong is among the findings. `keep` is called after each load.
    """
    found |= {"generators": options.generators, "left_out": []}
    if time.monotonic() > until - LEAST_S:
        found["left_out"] = "everything"
        return
    try:
        with tempfile.TemporaryDirectory(prefix="gpu-") as folder:
            store = served_store(record.ROOT / "models", options.served, Path(folder, "models"))
            _measure(store, Path(folder), options, count, until, found, keep)
    except (Exception, SystemExit) as error:  # the latter of a server that does not become ready
        found["failed"] = f"{type(error).__name__}: {str(error)[-2000:]}"


def served_store(models: Path, versions: Sequence[str], folder: Path) -> Path:
    """A store of copies of these versions."""
    for name, version in (which.split("@") for which in versions):
        shutil.copytree(ModelStore(models).folder(name, int(version)), folder / name / version)
    return folder


def _measure(
    store: Path,
    folder: Path,
    options: argparse.Namespace,
    count: int,
    until: float,
    found: Findings,
    keep: Callable[[], None],
) -> None:
    requests = {model: _requests(store, model, folder) for model in (which.split("@")[0] for which in options.served)}
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        processes = stack.enter_context(ProcessPoolExecutor(options.generators, multiprocessing.get_context("spawn")))
        started = stack.enter_context(_started(store, options, count, until))
        found["ready_s"] = round(time.monotonic() - began, 1)
        for model in requests:
            about = json.loads(servers.fetch(f"{started[0].url}/v1/models/{model}"))
            found[model] = {name: about.get(name) for name in ("version", "engine", "precision", "device", "max_batch")}
        for (model, bodies), connections in itertools.product(requests.items(), options.connections):
            run = f"{model} {connections} connections"
            if connections < count or time.monotonic() > until - options.seconds - 2:
                found["left_out"].append(run)
                continue
            with _watched() as gpu:
                found[run] = _loaded(processes, started, bodies, connections, options)
            found[run] |= gpu
            print(count, "servers", run, found[run], file=sys.stderr, flush=True)
            keep()
        found["memory_mb"] = round(sum(server.memory_bytes() for server in started) / 1e6, 1)


def _requests(store: Path, model: str, folder: Path) -> list[bytes]:
    """Whole HTTP requests with different JPEGs."""
    shape = ModelStore(store).card(model).input
    side = SIDES.get(model, shape.height)
    made = pictures.jpegs(folder / model, (side, side), SAMPLE, grey=shape.channels == 1)
    return [post(f"/v1/models/{model}/predict", picture.body, "image/jpeg") for picture in made]


@contextlib.contextmanager
def _started(store: Path, options: argparse.Namespace, count: int, until: float) -> Iterator[list[Server]]:
    """That many servers on one port, ready."""
    port = servers.free_port()
    environ = {name: text for name, text in os.environ.items() if not name.startswith("SIGHTLINE_")}
    threads = max(1, (os.cpu_count() or 1) // count)
    given = {"MODELS": store, "ENGINE": "jax", "PRECISION": options.precision, "MAX_BATCH": options.max_batch}
    given |= {"SHUTDOWN_NOTICE_MS": 0, "DECODE_THREADS": threads}
    environ |= {f"SIGHTLINE_{name}": str(value) for name, value in given.items()}
    command = [sys.executable, "-m", "classifier.commands", "serve", "--no-supervisor", "--share-port"]
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(servers.started([*command, "--port", str(port)], port, environ)) for _ in range(count)
        ]
        latest = min(time.monotonic() + READY_WITHIN_S, until - options.seconds)
        for server in running:
            servers.wait_until(server, partial(_is_ready, server), max(0.5, latest - time.monotonic()))
        yield running


def _is_ready(server: Server) -> bool:
    """By its log too: whichever server shares the port may have answered."""
    return "] serving " in server.log.read_text(errors="replace") and servers.is_ready(server.url)


def _loaded(
    processes: ProcessPoolExecutor,
    started: Sequence[Server],
    requests: list[bytes],
    connections: int,
    options: argparse.Namespace,
) -> Findings:
    """In a closed loop, by several processes: one in Python posts some 20,000 requests a second at most."""
    count = min(options.generators, connections)
    each = [connections // count + (number < connections % count) for number in range(count)]
    port = int(started[0].url.rpartition(":")[2])
    list(
        processes.map(partial(_posted, port, requests, 0.3), each)
    )  # which imports what they need, and warms the server
    cpu_s, began = sum(server.cpu_s() for server in started), time.monotonic()
    seen = list(processes.map(partial(_posted, port, requests, options.seconds), each))
    seconds = time.monotonic() - began
    took_ms = sorted(1000 * took for one in seen for took in one.took_s) or [0.0]
    others = sum((Counter(one.others) for one in seen), Counter())
    return {
        "per_s": round(sum(len(one.took_s) for one in seen) / seconds, 1),
        "p50_ms": round(statistics.median(took_ms), 2),
        "p99_ms": round(took_ms[int(0.99 * len(took_ms))], 2),
        "server_cores": round((sum(server.cpu_s() for server in started) - cpu_s) / seconds, 2),
        "other_answers": dict(others),
    }


def _posted(port: int, requests: list[bytes], seconds: float, connections: int) -> Seen:
    until = time.monotonic() + seconds
    turn = itertools.takewhile(lambda _: time.monotonic() < until, itertools.cycle(requests))
    answers = Connections(port, connections, connections, ANSWER_WITHIN_S).post(turn, itertools.repeat(0.0))
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
            with contextlib.suppress(ValueError):  # "[N/A]"
                rows.extend([float(part) for part in line.split(",")] for line in said.splitlines()[:1])

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield found
    finally:
        over.set()
        looking.join()
    if rows:
        found["gpu_utilisation"] = round(statistics.fmean(row[0] for row in rows), 1)
        found["gpu_memory_mb"] = max(row[1] for row in rows)
