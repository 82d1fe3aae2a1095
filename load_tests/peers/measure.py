"""Start one server, hold its answers to the offline predictor's, and have wrk load it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from classifier.loaded_model import SAMPLE_TOLERANCE
from load_tests import offline, servers
from load_tests.peers import OURS, PEERS
from load_tests.pictures import Picture
from load_tests.servers import ROOT, Server

PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
SCRIPT = Path(__file__).with_name("post.lua")
CHECKED = 16  # images, sent at once, so that answers out of a batch are looked at too
WARM_CONNECTIONS = 32


class Pictures(NamedTuple):
    """The pictures of one size for one model, with what the offline predictor answers in float32."""

    model: str
    size: str
    sample: Sequence[Picture]
    expected: Mapping[Path, Mapping[str, float]]


class Target(NamedTuple):
    """A server of some name, and the pictures that wrk posts to it out of a folder."""

    server: Server
    name: str
    pictures: Pictures
    folder: Path


class WrongAnswer(Exception):
    """A server whose answers are not the network's; its speed is of no interest."""


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
    """Write what wrk is to post into `folder`, one file a picture."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures.sample):
        (folder / str(number)).write_bytes(PEERS[name].wire.body(picture.body))
    return Target(server, name, pictures, folder)


def load(target: Target, connections: int, seconds: int) -> dict[str, Any]:
    """What wrk saw, and the most memory that all the server's processes held at the middle and the end."""
    running, server = wrk(target, connections, seconds), target.server
    time.sleep(seconds / 2)
    held = server.memory_bytes()
    seen = heard(running)
    if server.poll() is not None:
        raise RuntimeError(f"{target.name} ended under load; its log ends:\n{server.log.read_text()[-2000:]}")
    memory = max(held, server.memory_bytes())
    return {"per_s": round(seen["requests"] / seen["seconds"], 1), **seen, "memory_mb": round(memory / 1e6, 1)}


def wrk(target: Target, connections: int, seconds: int) -> subprocess.Popen[str]:
    """Start wrk: each connection posts again once it is answered."""
    pictures = target.pictures
    # One thread: more would take the server's core. 30 s: a slow answer is not a failed one.
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(SCRIPT)]
    bodies = ["--", str(target.folder), str(len(pictures.sample)), PEERS[target.name].wire.media_type]
    command = ["wrk", *options, url(target.server, target.name, pictures.model), *bodies]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def heard(wrk: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for wrk and read what post.lua prints."""
    said, _ = wrk.communicate()
    if wrk.returncode:
        raise RuntimeError(f"wrk ended with {wrk.returncode}: {said}")
    seen: dict[str, Any] = json.loads(said.strip().rpartition("\n")[2])
    return seen
