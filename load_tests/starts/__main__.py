"""How long a server takes from the start of its program until /readyz says 200, and how much of the processors.

Run:    python -m load_tests.starts [--times 5] [--ways alone supervised] [--image sightline:latest]
Needs:  docker, where an image is named; `python -m tests.deploy.containers` brings an engine and the image:

    python -m tests.deploy.containers .venv/bin/python -m load_tests.starts --times 5 --image sightline:ours

Gives:  --out, for each way of starting, in turns: seconds of wall time from the start of the first process; seconds of
        processor time of all processes; `pss_mb`, their memory when ready with the files that they map, a page that
        several share counted once.
        alone: `sightline serve --no-supervisor` in this checkout. supervised: `sightline serve`, as `make serve` does.
        container: the image, user 12345, read-only root, 2 CPUs, 512 MB; `from_docker_start_s` counts from the command,
        and `working_set_mb` is the memory that the engine counts against the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from load_tests import record, servers
from load_tests.record import Findings
from load_tests.starts.containers import Container

LIBRARIES = ("bentoml", "openvino", "numpy")
CONTAINER = "container"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    ways = [*options.ways, *([CONTAINER] if options.image else [])]
    found: Findings = record.circumstances(LIBRARIES) | {"n": options.times, "starts": []}
    for number in range(1, options.times + 1):
        for way in ways:
            one = {"round": number, "way": way} | _started(way, options)
            found["starts"].append(one)
            print(json.dumps(one), flush=True)
            record.write(options.out, found)
    for way in ways:
        of_way = [one for one in found["starts"] if one["way"] == way]
        middle = {
            key: statistics.median(one[key] for one in of_way) for key in of_way[0] if key not in ("round", "way")
        }
        found.setdefault("medians", {})[way] = middle
        print(way, "median:", json.dumps(middle))
    record.write(options.out, found)
    print(f"written to {options.out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--times", type=int, default=5, help="starts of each way (default: %(default)s)")
    add("--ways", nargs="*", choices=_OF_CHECKOUT, default=list(_OF_CHECKOUT), help="of starting this checkout")
    add("--image", help="to start in a container, too")
    add("--store", type=Path, default=record.ROOT / "models", help="the checkout's model store (default: models/)")
    add("--out", type=Path, default=record.LATEST / "starts.json", help="default: %(default)s")
    return parser


def _started(way: str, options: argparse.Namespace) -> Findings:
    return _container(options.image) if way == CONTAINER else _OF_CHECKOUT[way](options.store)


def _alone(store: Path) -> Findings:
    return _checkout(store, "--no-supervisor")


def _supervised(store: Path) -> Findings:
    return _checkout(store, "--supervisor")


def _checkout(store: Path, how: str) -> Findings:
    port = servers.free_port()
    environ = {name: text for name, text in os.environ.items() if not name.startswith("SIGHTLINE_")}
    environ |= {"SIGHTLINE_SHUTDOWN_NOTICE_MS": "0"}
    command = [sys.executable, "-m", "classifier.commands", "serve", how, "--port", str(port), "--models", str(store)]
    with servers.started(command, port, environ) as server:
        servers.wait_until(server, lambda: servers.is_ready(server.url))
        return _measured(server.pid)


def _container(image: str) -> Findings:
    container = Container(image, SHUTDOWN_NOTICE_MS="0")
    try:
        began = time.monotonic()
        container.start()
        container.wait_until_ready()
        from_command_s = time.monotonic() - began
        found = _measured(container.pid) | {"from_docker_start_s": round(from_command_s, 2)}
        return found | {"working_set_mb": round(container.memory_bytes() / 1e6, 1)}
    finally:
        container.remove()


def _measured(first: int) -> Findings:
    """Of a server that is ready; `first` is the process that began it."""
    ids = servers.process_ids(first)
    wall_s = time.clock_gettime(time.CLOCK_BOOTTIME) - _began_s(first)
    memory = sum(servers.proportional_bytes(one) for one in ids)
    cpu_s = sum(servers.cpu_s(one) for one in ids)
    return {"wall_s": round(wall_s, 2), "cpu_s": round(cpu_s, 2), "pss_mb": round(memory / 1e6, 1)}


def _began_s(pid: int) -> float:
    """When a process began, in seconds since the machine did, to a hundredth."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


_OF_CHECKOUT: dict[str, Callable[[Path], Findings]] = {"alone": _alone, "supervised": _supervised}


if __name__ == "__main__":
    sys.exit(main())
