"""Start one server and hold its answers to the offline predictor's."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from classifier.engines.agreement import SAMPLE_TOLERANCE
from load_tests import offline, servers
from load_tests.generators.target import Target, written
from load_tests.peers import OURS, PEERS
from load_tests.servers import ROOT, Server
from load_tests.workload import Pictures

PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
CHECKED = 16  # images, sent at once, so that answers out of a batch are looked at too
WARM_CONNECTIONS = 32


class WrongAnswer(Exception):
    """A server whose answers are not the network's; its speed is of no interest."""


def require(names: Collection[str]) -> None:
    """End the run where wrk is missing, or the environment that the other servers of these names run in."""
    if not shutil.which("wrk"):
        raise SystemExit("wrk is missing; it is a package of that name in Debian")
    if set(names) - {OURS} and not PEERS_PYTHON.exists():
        raise SystemExit(f"{PEERS_PYTHON.parents[1].name} is missing; `make peers` installs it")


def libraries() -> dict[str, str]:
    """The versions of what the other servers run on; empty where they are not installed."""
    if not PEERS_PYTHON.exists():
        return {}
    names = ("bentoml", "litserve", "mosec", "fastapi", "keras", "tensorflow", "openvino", "pillow", "numpy")
    code = f"import importlib.metadata as m; print(*(m.version(n) for n in {names}))"
    done = subprocess.run([PEERS_PYTHON, "-c", code], check=True, capture_output=True, text=True)
    return dict(zip(names, done.stdout.split(), strict=True))


@contextlib.contextmanager
def serving(name: str, workers: int, model: str, precision: str, models: Path) -> Iterator[Server]:
    port = servers.free_port()
    environ = {key: text for key, text in os.environ.items() if not key.startswith(("SIGHTLINE_", "PEER_"))}
    if name == OURS:
        environ |= {"SIGHTLINE_MODELS": str(models), "SIGHTLINE_PRECISION": precision}
        environ |= {"SIGHTLINE_SHUTDOWN_NOTICE_MS": "0"}
    environ |= {"PEER_MODEL": model, "PEER_PRECISION": precision, "PEER_MODELS": str(models)}
    environ |= {"PEER_WORKERS": str(workers), "PEER_PORT": str(port)}
    python = sys.executable if name == OURS else PEERS_PYTHON
    command = [part.format(port=port) for part in PEERS[name].command]
    with servers.started([python, *command], port, environ) as server:
        yield server


def url(server: Server, name: str, model: str) -> str:
    return server.url + PEERS[name].path.format(model=model)


def wait(server: Server, name: str, pictures: Pictures) -> None:
    """Until it answers, and until all its workers have come up."""
    wire = PEERS[name].wire
    body = wire.body(pictures.sample[0].body)
    servers.wait_until(server, lambda: bool(servers.fetch(url(server, name, pictures.model), body, wire.media_type)))
    settle(server, name, pictures)


def settle(server: Server, name: str, pictures: Pictures) -> None:
    """Wait for an answer behind everything that callers who have left still wait for, then for quiet."""
    wire = PEERS[name].wire
    servers.fetch(url(server, name, pictures.model), wire.body(pictures.sample[0].body), wire.media_type)
    servers.wait_until_idle(server)


def check(server: Server, name: str, pictures: Pictures, precision: str) -> None:
    """Compare a sample of the answers with the offline predictor's, within what the precision may move a probability.

    No closer: our engine prepares a network otherwise than OpenVINO alone does, which in bfloat16 rounds otherwise.
    Raises WrongAnswer.
    """
    wire, where = PEERS[name].wire, url(server, name, pictures.model)
    sample = pictures.sample[:CHECKED]
    with ThreadPoolExecutor(len(sample)) as callers:
        answers = list(callers.map(lambda p: servers.fetch(where, wire.body(p.body), wire.media_type), sample))
    for picture, answer in zip(sample, answers, strict=True):
        content = json.loads(answer)
        found = content[0] if isinstance(content, list) else content
        off_by = offline.difference(offline.by_label(found["predictions"]), pictures.expected[picture.path])
        if not off_by <= SAMPLE_TOLERANCE[precision]:
            raise WrongAnswer(f"{name}: an answer of {pictures.model} is off by {off_by:.4f} in {precision}")


def target(server: Server, name: str, pictures: Pictures, folder: Path) -> Target:
    """Write what a load generator is to post into `folder`, one file a picture."""
    peer = PEERS[name]
    bodies = (peer.wire.body(picture.body) for picture in pictures.sample)
    return written(server, peer.path.format(model=pictures.model), peer.wire.media_type, bodies, folder)
