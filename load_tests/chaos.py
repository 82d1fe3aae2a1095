"""What the server is to survive, measured: python load_tests/chaos.py [--models models] [--scale 1.0]

Starts servers of its own and runs, one after the other: a flood at four times capacity with stalled connections beside
it, SIGTERMs under load, hostile inputs with memory before and after, two pictures that claim gigapixels. Writes
load_tests/results/<date>-chaos.json, whatever the outcome, and ends with 1 where a promise was not kept. `--scale 1` is
what the promises are about and takes some minutes; the default is a short look.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import uvloop

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from load_tests.hostile import attacks, lying_header, png_bomb  # noqa: E402
from load_tests.pictures import make  # noqa: E402

RESULTS = ROOT / "load_tests" / "results"
DEADLINE_MS = 3_000
MOST_CONNECTIONS = 1_000  # of the flood, as a proxy would keep. Waiting for one is no latency of the server's
Findings = dict[str, Any]


def main() -> int:
    options = _options()
    findings: Findings = {"scale": options.scale, "machine": _machine(), "commit": _commit(), "promises": {}}
    try:
        for name, run in PARTS.items():
            if name in options.parts:
                print(f"{name} ...", flush=True)
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # asyncio's own is too slow here
                    findings[name] = runner.run(run(options, findings["promises"]))
                print(json.dumps(findings[name]), flush=True)
    finally:
        RESULTS.mkdir(exist_ok=True)
        options.out.write_text(json.dumps(findings, indent=1) + "\n", encoding="utf-8")
    for promise, kept in findings["promises"].items():
        print(f"{'kept  ' if kept else 'BROKEN'} {promise}")
    print(f"written to {options.out}")
    return 0 if all(findings["promises"].values()) else 1


async def flood(options: argparse.Namespace, promises: dict[str, bool]) -> Findings:
    """Capacity with 32 callers, then four times as many arrivals, then that with stalled connections beside it."""
    seconds = max(2.0, 60 * options.scale)
    async with serving(options, REQUEST_TIMEOUT_MS=str(DEADLINE_MS)) as server:
        ask = await _asker(server)
        capacity = await _closed_loop(ask, users=32, seconds=max(2.0, 15 * options.scale))
        normal = await _closed_loop(ask, users=1, seconds=2)
        rate = 4 * capacity["good_per_s"]
        flooded = await _open_loop(ask, rate, seconds)
        await asyncio.sleep(2)
        after = await _closed_loop(ask, users=1, seconds=2)
        async with stalled(server, 500):
            beside = await _open_loop(ask, rate, seconds)
    goodput = flooded["good_per_s"] / capacity["good_per_s"]
    change = 1 - beside["good_per_s"] / flooded["good_per_s"]
    statuses = set(flooded["statuses"]) | set(beside["statuses"])
    promises["flood: every request is answered 200, 429 or 504"] = statuses <= {"200", "429", "504"}
    promises["flood: goodput is 0.9 of capacity or more"] = goodput >= 0.9
    promises["flood: accepted p99 is within the deadline"] = flooded["p99_ms"] <= DEADLINE_MS
    promises["flood: two seconds later latency is as before"] = after["p99_ms"] <= 2 * normal["p99_ms"] + 5
    promises["500 stalled connections change goodput by less than 10 %"] = change < 0.1
    return {
        "capacity": capacity,
        "normal": normal,
        "flooded": flooded,
        "two_seconds_after": after,
        "beside_stalled": beside,
        "goodput_of_capacity": goodput,
        "change_by_stalled": change,
    }


async def sigterm(options: argparse.Namespace, promises: dict[str, bool]) -> Findings:
    """End the server under load, again and again; a request is lost when it broke although the server was there."""
    rounds = max(1, round(20 * options.scale))
    outcomes: Counter[str] = Counter()
    lost = 0
    for _ in range(rounds):
        async with serving(options, SHUTDOWN_NOTICE_MS="500") as server:
            ask = await _asker(server)
            told_at = asyncio.get_running_loop().time() + 1
            users = [asyncio.create_task(_until_gone(ask)) for _ in range(16)]
            await asyncio.sleep(1)
            server.send_signal(signal.SIGTERM)
            await asyncio.to_thread(server.wait, 60)
            for statuses, broke_at in await asyncio.gather(*users):
                outcomes.update(statuses)
                lost += broke_at is not None and broke_at < told_at + 0.5
    promises[f"{rounds} SIGTERMs under load: no accepted request is lost"] = lost == 0
    promises["SIGTERM: what is refused is refused with 503"] = set(outcomes) <= {"200", "503"}
    return {"rounds": rounds, "lost": lost, "outcomes": dict(outcomes)}


async def hostile(options: argparse.Namespace, promises: dict[str, bool]) -> Findings:
    """Mutated inputs, and the memory that they leave behind."""
    count = max(200, round(10_000 * options.scale))
    async with serving(options) as server, callers() as client:
        model = await _first_model(server, client)
        worker = _worker(server)

        async def send(numbers: Sequence[Any]) -> Counter[str]:
            told: Counter[str] = Counter()
            for attack in numbers:
                headers = {"content-type": attack.media_type}
                answer = await client.post(
                    f"{server.url}/v1/models/{model}/predict", content=attack.body, headers=headers
                )
                told[str(answer.status_code)] += 1
            return told

        async def wave(seed: int, size: int) -> Counter[str]:
            every = list(attacks(seed, size))
            parts = await asyncio.gather(*(send(every[start::16]) for start in range(16)))
            return sum(parts, Counter())

        await wave(seed=0, size=200)
        before = _resident_bytes(worker)
        statuses: Counter[str] = Counter()
        for seed in range(1, count // 200 + 1):
            statuses += await wave(seed, 200)
        after = _resident_bytes(worker)
        same = worker == _worker(server)
        claims = [
            await _claim(client, f"{server.url}/v1/models/{model}/predict", worker, b)
            for b in (lying_header(), png_bomb())
        ]
    promises[f"{statuses.total()} hostile inputs: no 5xx"] = not any(status.startswith("5") for status in statuses)
    promises["hostile inputs: the worker lives"] = same
    promises["hostile inputs: memory grows by 50 MB or less"] = after - before <= 50_000_000
    promises["gigapixel claims: refused within 50 ms and 50 MB"] = all(
        c["status"] == 413 and c["ms"] < 50 and c["grown_bytes"] < 50_000_000 for c in claims
    )
    return {"statuses": dict(statuses), "resident_before": before, "resident_after": after, "claims": claims}


PARTS: dict[str, Callable[[argparse.Namespace, dict[str, bool]], Awaitable[Findings]]] = {
    "flood": flood,
    "sigterm": sigterm,
    "hostile": hostile,
}


class Server(subprocess.Popen[bytes]):
    """A server that this run has started."""

    url = ""


@contextlib.asynccontextmanager
async def serving(options: argparse.Namespace, **settings: str) -> AsyncIterator[Server]:
    with socket.socket() as free, tempfile.TemporaryDirectory(prefix="chaos-bentoml-") as home:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        environ = {name: text for name, text in os.environ.items() if not name.startswith("SIGHTLINE_")}
        environ |= {"BENTOML_HOME": home, "BENTOML_DO_NOT_TRACK": "True", "SIGHTLINE_SHUTDOWN_NOTICE_MS": "0"}
        environ |= {"SIGHTLINE_MODELS": str(options.models)} | {f"SIGHTLINE_{n}": text for n, text in settings.items()}
        command = [sys.executable, "-m", "bentoml", "serve", "service.app:Sightline"]
        where = ["--host", "127.0.0.1", "--port", str(port)]
        server = _started([*command, *where], environ, Path(home, "log"))
        server.url = f"http://127.0.0.1:{port}"
        try:
            await _ready(server)
            yield server
        finally:
            if server.poll() is None:
                server.terminate()
                server.wait(60)


def _started(command: Sequence[str], environ: dict[str, str], log: Path) -> Server:
    with log.open("wb") as out:
        return Server(command, cwd=ROOT, env=environ, stdout=out, stderr=out)


def callers() -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=1_000, max_keepalive_connections=1_000)
    return httpx.AsyncClient(limits=limits, timeout=30)


@contextlib.asynccontextmanager
async def stalled(server: Server, count: int) -> AsyncIterator[None]:
    """Connections that trickle: half of them a request's head, half of them a body."""
    port = int(server.url.rpartition(":")[2])
    body = b"POST /v1/models/x/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"

    async def trickle(number: int) -> None:
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(body if number % 2 else b"GET / HTTP/1.1\r\n")
                while True:
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(1)
            await asyncio.sleep(0.5)

    tasks = [asyncio.create_task(trickle(number)) for number in range(count)]
    await asyncio.sleep(1)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Lines:
    """Kept-alive connections, as few as there are requests at once. httpx would take more time than the server does."""

    def __init__(self, url: str) -> None:
        self._port = int(url.rpartition(":")[2])
        self._idle: list[tuple[float, asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def status_of(self, request: bytes) -> str:
        """Send a whole request and read its whole answer. Raises OSError or EOFError where the connection breaks."""
        reader, writer = self._fresh() or await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        if b"connection: close" in head:
            writer.close()
        else:
            self._idle.append((time.monotonic(), reader, writer))
        return head[9:12].decode()

    def _fresh(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection that the server has not had time to close; it closes idle ones after five seconds."""
        while self._idle:
            since, reader, writer = self._idle.pop()
            if time.monotonic() - since < 3:
                return reader, writer
            writer.close()
        return None


async def _asker(server: Server) -> Callable[[], Awaitable[str]]:
    """Ask for one of several pictures; gives the status."""
    async with callers() as client:
        path = f"/v1/models/{await _first_model(server, client)}/predict"
    with tempfile.TemporaryDirectory() as folder:
        bodies = [picture.body for picture in make(Path(folder), 9)]
    heads = [f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() for body in bodies]
    requests = itertools.cycle([head + body for head, body in zip(heads, bodies, strict=True)])
    lines = Lines(server.url)
    return lambda: lines.status_of(next(requests))


async def _closed_loop(ask: Callable[[], Awaitable[str]], users: int, seconds: float) -> Findings:
    until = time.monotonic() + seconds
    statuses: Counter[str] = Counter()
    took_s: list[float] = []

    async def user() -> None:
        while time.monotonic() < until:
            await _timed(ask, statuses, took_s)

    await asyncio.gather(*(user() for _ in range(users)))
    return _summary(statuses, took_s, seconds)


async def _open_loop(ask: Callable[[], Awaitable[str]], per_s: float, seconds: float) -> Findings:
    """Requests that come when they come, however long the others take."""
    statuses: Counter[str] = Counter()
    took_s: list[float] = []
    tasks: list[asyncio.Task[None]] = []
    places = asyncio.Semaphore(MOST_CONNECTIONS)

    async def one() -> None:
        async with places:
            await _timed(ask, statuses, took_s)

    began = time.monotonic()
    latest_s = 0.0  # how far behind its own plan the load generator came; much of it makes the latencies its own
    while (past := time.monotonic() - began) < seconds:
        due = int(past * per_s) - len(tasks)
        latest_s = max(latest_s, due / per_s)
        tasks += [asyncio.create_task(one()) for _ in range(due)]
        await asyncio.sleep(0.005)
    await asyncio.gather(*tasks)
    offered = {"offered_per_s": round(len(tasks) / seconds, 1), "generator_behind_ms": round(1000 * latest_s, 1)}
    return _summary(statuses, took_s, time.monotonic() - began) | offered  # until the last answer


async def _timed(ask: Callable[[], Awaitable[str]], statuses: Counter[str], took_s: list[float]) -> None:
    began = time.monotonic()
    try:
        status = await ask()
    except (OSError, EOFError) as error:
        status = type(error).__name__
    statuses[status] += 1
    if status == "200":
        took_s.append(time.monotonic() - began)


def _summary(statuses: Counter[str], took_s: list[float], seconds: float) -> Findings:
    ordered = sorted(took_s) or [0.0]
    share = {f"p{p}_ms": round(1000 * ordered[min(len(ordered) - 1, len(ordered) * p // 100)], 2) for p in (50, 99)}
    return {"good_per_s": round(len(took_s) / seconds, 1), "statuses": dict(statuses)} | share


async def _until_gone(ask: Callable[[], Awaitable[str]]) -> tuple[Counter[str], float | None]:
    statuses: Counter[str] = Counter()
    for _ in range(1_000_000):
        try:
            statuses[await ask()] += 1
        except (OSError, EOFError):
            return statuses, asyncio.get_running_loop().time()
    return statuses, None


async def _claim(client: httpx.AsyncClient, url: str, worker: int, body: bytes) -> Findings:
    before, began = _resident_bytes(worker), time.monotonic()
    answer = await client.post(url, content=body)
    ms = 1000 * (time.monotonic() - began)
    grown = _resident_bytes(worker) - before
    return {"bytes": len(body), "status": answer.status_code, "ms": round(ms, 2), "grown_bytes": grown}


async def _ready(server: Server) -> None:
    async with httpx.AsyncClient() as client:
        for _ in range(600):
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(f"{server.url}/readyz")).status_code == 200:
                    return
            if server.poll() is not None:
                raise SystemExit("the server ended while it started")
            await asyncio.sleep(0.1)
    raise SystemExit("the server was not ready within a minute")


async def _first_model(server: Server, client: httpx.AsyncClient) -> str:
    return str((await client.get(f"{server.url}/v1/models")).json()["models"][0]["model"])


def _worker(server: Server) -> int:
    """The process below the supervisor that runs networks."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return next(int(pid) for pid in children if "openvino" in Path(f"/proc/{pid}/maps").read_text())


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _machine() -> str:
    return (
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors, load generator beside the server"
    )


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607 (the operator's own)
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip() or "unknown"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=ROOT / "models", help="folder of models to serve")
    parser.add_argument("--scale", type=float, default=0.05, help="1 is the whole of it (default: %(default)s)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path, default=RESULTS / f"{time.strftime('%Y-%m-%d')}-chaos.json")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
