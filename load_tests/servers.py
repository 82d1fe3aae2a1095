"""Servers that a run starts, waits for and ends, with every process below them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN_S = 120


class Server(subprocess.Popen[bytes]):
    """A process that this run has started, first of a group of its own."""

    url = ""
    log = Path()

    def process_ids(self) -> list[int]:
        """The server and everything below it."""
        return process_ids(self.pid)

    def memory_bytes(self) -> int:
        """What all its processes hold; a page that several share counts once (proportional set size)."""
        return sum(proportional_bytes(pid) for pid in self.process_ids())

    def cpu_s(self) -> float:
        return sum(cpu_s(pid) for pid in self.process_ids())

    def worker(self) -> int:
        """The process that runs networks."""
        return next(pid for pid in self.process_ids() if "openvino" in Path(f"/proc/{pid}/maps").read_text())


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def started(
    command: Sequence[str | Path], port: int, environ: Mapping[str, str], folder: Path = ROOT
) -> Iterator[Server]:
    """Run a server in a folder, on a port of 127.0.0.1; not necessarily ready yet.

    It ends with the context, and all its processes. BENTOML_HOME is its own: servers that share one wipe each other's
    metrics. Its log lies there while it runs.
    """
    with tempfile.TemporaryDirectory(prefix="load-test-") as home:
        log = Path(home, "log")
        ours = {"BENTOML_HOME": home, "BENTOML_DO_NOT_TRACK": "True"}
        with log.open("wb") as out:
            server = Server(
                command, cwd=folder, env={**environ, **ours}, stdout=out, stderr=out, start_new_session=True
            )
        server.url, server.log = f"http://127.0.0.1:{port}", log
        try:
            yield server
        finally:
            end(server)


@contextlib.contextmanager
def sightline(
    environ: Mapping[str, str] = os.environ, checkout: Path = ROOT, port: int = 0, **settings: str
) -> Iterator[Server]:
    """Our own server, of this checkout or another, ready. `settings` lack their prefix SIGHTLINE_; port 0 is any."""
    port = port or free_port()
    command = [sys.executable, "-m", "bentoml", "serve", "service.app:Sightline"]
    where = ["--host", "127.0.0.1", "--port", str(port)]
    given = {"SIGHTLINE_SHUTDOWN_NOTICE_MS": "0"} | {f"SIGHTLINE_{name}": text for name, text in settings.items()}
    with started([*command, *where], port, {**environ, **given}, checkout) as server:
        wait_until(server, lambda: is_ready(server.url))
        yield server


def wait_until(server: Server, is_there: Callable[[], bool], within_s: float = READY_WITHIN_S) -> None:
    """Ask again and again; an OSError, which an HTTP error is too, is a no. Ends the run with the server's log."""
    until = time.monotonic() + within_s
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(OSError):
            if is_there():
                return
        time.sleep(0.05)
    raise SystemExit(f"the server did not become ready; its log ends:\n{server.log.read_text()[-2000:]}")


def wait_until_idle(*servers: Server, within_s: float = 60) -> None:
    """Until all their processes together take less than a fifth of one core.

    Some workers come up after the first; some servers still work for callers who have left.
    """
    step_s, until = 0.2, time.monotonic() + within_s
    while time.monotonic() < until:
        before = sum(server.cpu_s() for server in servers)
        time.sleep(step_s)
        if sum(server.cpu_s() for server in servers) - before < 0.2 * step_s:
            return


def is_ready(url: str) -> bool:
    """Whether /readyz says 200."""
    with contextlib.suppress(OSError):
        fetch(f"{url}/readyz")
        return True
    return False


def fetch(url: str, body: bytes | None = None, media_type: str = "application/octet-stream") -> bytes:
    """GET, or POST a body. Raises OSError for anything but success."""
    request = urllib.request.Request(url, body, {"Content-Type": media_type} if body else {})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 (a server of our own)
        content: bytes = answer.read()
        return content


def end(server: Server) -> None:
    """Ask, wait, then end whatever of it is left; some servers leave workers behind."""
    below = server.process_ids()[1:]
    if server.poll() is None:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    for pid in below:  # those that have left the group; the number may be somebody else's by now
        with contextlib.suppress(OSError):
            if str(server.log.parent).encode() in Path(f"/proc/{pid}/environ").read_bytes():
                os.kill(pid, signal.SIGKILL)
    server.wait()
    until = time.monotonic() + 5
    while any(is_running(pid) for pid in below) and time.monotonic() < until:
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether there is such a process, and more of it than the entry that its parent has yet to read."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def process_ids(pid: int) -> list[int]:
    """A process and everything below it."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):  # of each thread
            with contextlib.suppress(OSError):
                found += map(int, children.read_text().split())
    return found


def proportional_bytes(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # it has just ended
        return 0
    return 1024 * next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0)


def cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
