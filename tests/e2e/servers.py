"""Real servers for tests: started as an operator starts them, stopped by their own process id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
ENGINE = os.environ.get("E2E_ENGINE", "auto")  # of the server that most tests share
LIBRARY = "jaxlib" if ENGINE == "jax" else "openvino"  # which its process has in memory then


@dataclass(frozen=True)
class Server:
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def process_ids(self) -> list[int]:
        """The supervisor and everything below it."""
        found = [self.process.pid]
        for parent in found:
            for children in Path(f"/proc/{parent}/task").glob("*/children"):  # of each thread
                with suppress(OSError):  # a thread may have ended
                    found += [int(child) for child in children.read_text().split()]
        return found

    def stop(self, timeout_s: float = 30) -> int:
        """Ask the supervisor to end, as a container runtime does, and wait for it."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)


@contextmanager
def serving(
    home: Path,
    what: str = "service.app:Sightline",
    cwd: Path = ROOT,
    environ: Mapping[str, str] | None = None,
    host: str = "127.0.0.1",
    python: Sequence[str] = ("-m", "bentoml"),
    port: int = 0,
) -> Iterator[Server]:
    """`bentoml serve` on a port, or a free one, with its own BENTOML_HOME; not necessarily ready yet.

    It ends as soon as its work is done, without giving routers time to notice, unless `environ` says otherwise.
    """
    port = port or free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SIGHTLINE_", "BENTOML_"))}
    home.mkdir(parents=True, exist_ok=True)
    log = home / f"server-{port}.log"
    ours = {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "SIGHTLINE_SHUTDOWN_NOTICE_MS": "0"}
    ours["SIGHTLINE_MAX_LAG_MS"] = "10000"  # a busy machine is no flood
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, *python, "serve", what, *(("--host", host) if host else ()), "--port", str(port)],
            cwd=cwd,
            env=clean | ours | dict(environ or {}),
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            yield Server(f"http://127.0.0.1:{port}", process, log)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(30)


def wait_until(server: Server, path: str, status: int, text: str = "", timeout_s: float = 60) -> httpx.Response:
    """Ask until the answer has this status and text. Raises AssertionError with the log when that does not come."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until and server.process.poll() is None:
        try:
            answer = httpx.get(server.url + path, timeout=5)
            if answer.status_code == status and text in answer.text:
                return answer
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"{path} never answered {status} {text}\n{server.log.read_text()}")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
