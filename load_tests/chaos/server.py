"""The server that is put to the test, and its worker's memory."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from load_tests import servers
from load_tests.generators.arrivals import Answer, Connections
from load_tests.generators.target import Target, written
from load_tests.pictures import make
from load_tests.servers import Server

MEDIA_TYPE = "application/octet-stream"
PICTURES = 9  # one of each size
HANGS_AFTER_S = 40.0  # the server gives up on a request after 30


@contextlib.contextmanager
def serving(options: argparse.Namespace, port: int = 0, **settings: str) -> Iterator[Server]:
    """A server of our own with these settings and no others, ready."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith("SIGHTLINE_")}
    with servers.sightline(environ, servers.ROOT, port, MODELS=str(options.store), **settings) as server:
        yield server


@contextlib.contextmanager
def first_model(server: Server) -> Iterator[Target]:
    """The predict route of the first model, and pictures of every size to post there."""
    with tempfile.TemporaryDirectory() as folder:
        yield written(server, predict_path(server.url), MEDIA_TYPE, pictures(), Path(folder, "bodies"))


def predict_path(url: str) -> str:
    """The predict route of the first model of a server."""
    name = json.loads(servers.fetch(f"{url}/v1/models"))["models"][0]["model"]
    return f"/v1/models/{name}/predict"


def pictures() -> list[bytes]:
    """Encoded pictures, one of every size."""
    with tempfile.TemporaryDirectory() as folder:
        return [picture.body for picture in make(Path(folder), PICTURES)]


def post_honest(target: Target, due_s: Iterable[float], most: int) -> list[Answer]:
    """Post the target's pictures in turn at these moments, over at most so many connections."""
    connections = Connections(target.port, most=most, answer_within_s=HANGS_AFTER_S)
    return connections.post(itertools.cycle(target.requests()), due_s)


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def reset_peak(pid: int) -> int:
    """Have the kernel count the peak anew, and give the bytes that are resident now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return resident_bytes(pid)


def peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])
