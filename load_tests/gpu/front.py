"""What bounds a server whose network is fast: thumbnails per second of one server and of several, with `fake_server`.

Run:    python -m load_tests.gpu.front [--servers 1 2] [--connections 64] [--seconds 4] [--rounds 3]
Needs:  wrk, and a quiet machine for requests a second; the processor time of a request hardly depends on that.
Gives:  --out, for each number of servers in turns: thumbnails per second, 50th and 99th percentiles, and the processor
        time of each request by who took it: the event loops, the servers' other threads, wrk on the same processors.
        From that follows how many requests a second there can be, which explains how many there are.

Each server has a port of its own and a wrk of its own; with `sightline serve --share-port` the system shares one port.
`--pinned` binds each server to a processor of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from load_tests import record, servers, workload
from load_tests.generators import wrk
from load_tests.generators.target import Target, written
from load_tests.record import Findings
from load_tests.servers import Server

MODEL = "asl"
LIBRARIES = ("bentoml", "uvicorn", "pillow", "simplejpeg", "numpy")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    about = {name: getattr(options, name) for name in ("servers", "connections", "seconds", "images_per_s", "pinned")}
    found: Findings = record.circumstances(LIBRARIES) | about | {"runs": []}
    with tempfile.TemporaryDirectory(prefix="front-") as folder:
        store = workload.measured_store(record.ROOT / "models", Path(folder, "models"))
        pictures = workload.drawn(store, MODEL, Path(folder))[0]
        bodies = [picture.body for picture in pictures.sample]
        with contextlib.ExitStack() as stack:
            path = f"/v1/models/{MODEL}/predict"
            targets = [
                written(server, path, "image/jpeg", bodies, Path(folder, str(number)))
                for number, server in enumerate(stack.enter_context(_started(store, max(options.servers), options)))
            ]
            for number in range(options.rounds):
                for count in options.servers:
                    run = {"round": number, "servers": count} | _measured(targets[:count], options)
                    found["runs"].append(run)
                    print(run, flush=True)
    runs = {count: [run for run in found["runs"] if run["servers"] == count] for count in options.servers}
    medians = {count: _medians(same) for count, same in runs.items()}
    found["medians"] = {count: same | _possible(count, same) for count, same in medians.items()}
    record.write(options.out, found)
    print(*found["medians"].items(), f"written to {options.out}", sep="\n")
    return 1 if any(run["failures"] for run in found["runs"]) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--servers", nargs="+", type=int, default=[1, 2], help="how many at once (default: 1 2)")
    add("--connections", type=int, default=64, help="of each server (default: %(default)s)")
    add("--seconds", type=float, default=4.0, help="of each measurement (default: %(default)s)")
    add("--rounds", type=int, default=3)
    add("--images-per-s", type=float, default=20_000.0, help="of each server's network (default: %(default)s)")
    add("--pinned", action="store_true", help="bind each server to a processor of its own")
    add("--out", type=Path, default=record.LATEST / "front.json", help="default: %(default)s")
    return parser


@contextlib.contextmanager
def _started(store: Path, count: int, options: argparse.Namespace) -> Iterator[list[Server]]:
    """That many servers, ready."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith("SIGHTLINE_")}
    environ |= {"SIGHTLINE_MODELS": str(store), "SIGHTLINE_SHUTDOWN_NOTICE_MS": "0"}
    with contextlib.ExitStack() as stack:
        running = []
        for number in range(count):
            port = servers.free_port()
            speed = ["--images-per-s", str(options.images_per_s)]
            command = [sys.executable, "-m", "load_tests.gpu.fake_server", "--port", str(port), *speed]
            server = stack.enter_context(servers.started(_bound(command, number, options), port, environ))
            servers.wait_until(server, partial(servers.is_ready, server.url))
            running.append(server)
        yield running


def _bound(command: list[str], number: int, options: argparse.Namespace) -> list[str]:
    processor = number % (os.cpu_count() or 1)
    return ["taskset", "-c", str(processor), *command] if options.pinned else command


def _measured(targets: Sequence[Target], options: argparse.Namespace) -> Findings:
    """One wrk for each target, all at once."""
    before = [_thread_s(target.server) for target in targets]
    wrk_before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    running = [wrk.Wrk.closed_loop(target, options.connections, options.seconds) for target in targets]
    said = [one.said() for one in running]
    seconds = time.monotonic() - began
    wrk_after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = [_since(first, _thread_s(target.server)) for first, target in zip(before, targets, strict=True)]
    requests = sum(one["requests"] for one in said)
    loops, others = sum(loop for loop, _ in spent), sum(other for _, other in spent)
    generator = wrk_after.ru_utime + wrk_after.ru_stime - wrk_before.ru_utime - wrk_before.ru_stime
    microseconds = {"loop_us": loops, "other_threads_us": others, "generator_us": generator}
    return {
        "per_s": round(sum(one["requests"] / one["seconds"] for one in said), 1),
        "failures": sum(one["failures"] for one in said),
        "p50_ms": statistics.fmean(one["p50_ms"] for one in said),
        "p99_ms": max(one["p99_ms"] for one in said),
        **{name: round(1e6 * s / requests, 1) for name, s in microseconds.items()},
        "busiest_loop": round(max(loop for loop, _ in spent) / seconds, 3),
        "processors_used": round((loops + others + generator) / seconds, 2),
    }


def _thread_s(server: Server) -> dict[int, float]:
    """Seconds of processor time by thread; the event loop runs in the process's first."""
    found = {}
    for path in Path(f"/proc/{server.pid}/task").iterdir():
        with contextlib.suppress(OSError):
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            found[int(path.name)] = (int(fields[11]) + int(fields[12])) * TICK_S
    return found


def _since(before: dict[int, float], after: dict[int, float]) -> tuple[float, float]:
    """The event loop's part and that of all other threads; the event loop is the busiest thread."""
    spent = sorted((seconds - before.get(thread, 0.0) for thread, seconds in after.items()), reverse=True)
    return spent[0], sum(spent[1:])


def _medians(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    names = [name for name in runs[0] if name not in ("round", "servers")]
    return {name: round(statistics.median(run[name] for run in runs), 3) for name in names}


def _possible(servers: int, medians: dict[str, float]) -> dict[str, float]:
    """Requests a second, where event loops or all processors are busy throughout; with wrk beside them and without."""
    loop, others, generator = (medians[name] / 1e6 for name in ("loop_us", "other_threads_us", "generator_us"))
    processors = os.cpu_count() or 1
    beside = {"possible_per_s": generator, "possible_without_generator_per_s": 0.0}
    return {name: round(min(servers / loop, processors / (loop + others + more)), 1) for name, more in beside.items()}


if __name__ == "__main__":
    sys.exit(main())
