"""What the server is to survive, measured: python load_tests/chaos.py [--parts flood sigterm hostile claims]

Starts servers of its own and runs, one after the other: a flood at four times capacity with stalled connections beside
it, SIGTERMs under load, hostile inputs with memory before and after, two pictures that claim gigapixels. Writes what
each part found to --out, beside what other parts have found, whatever the outcome, and ends with 1 where a promise was
not kept. `--scale 1` is what the promises are about and takes some minutes; the default is a short look. Single bars in
full:

    python load_tests/chaos.py --parts hostile claims --inputs 10000
    python load_tests/chaos.py --parts sigterm --times 20
    python load_tests/chaos.py --parts flood --scale 1 --rounds 3   # needs wrk
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import httpx
import uvloop

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from load_tests import record, servers  # noqa: E402
from load_tests.flood import DEADLINE_MS, rounds  # noqa: E402
from load_tests.hostile import Attack, attacks, lying_header, png_bomb  # noqa: E402
from load_tests.peers import OURS, measure  # noqa: E402
from load_tests.peers.measure import Pictures  # noqa: E402
from load_tests.pictures import make  # noqa: E402
from load_tests.record import Findings  # noqa: E402
from load_tests.servers import Server  # noqa: E402

NOTICE_S = 0.5  # between SIGTERM and the end of the socket
HANGS_AFTER_S = 40  # the server gives up on a request after 30
WAVE = 200  # hostile inputs that are made and sent together
PICTURES = 9  # one of each size
CLAIMS = 30  # of each of the two pictures
MOST_RISE_BYTES = 50_000_000


def main() -> int:
    options = _options()
    results: Findings = record.read(options.out) or {}
    every: dict[str, bool] = {}
    for name, run in PARTS.items():
        if name in options.parts:
            print(f"{name} ...", flush=True)
            promises: dict[str, bool] = {}
            circumstances = record.circumstances() | {"scale": options.scale, "promises": promises}
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # asyncio's own is too slow here
                results[name] = circumstances | runner.run(run(options, promises))
            every |= promises
            record.write(options.out, results)
            print(json.dumps(results[name]), flush=True)
    for promise, kept in every.items():
        print(f"{'kept  ' if kept else 'BROKEN'} {promise}")
    print(f"written to {options.out}")
    return 0 if all(every.values()) else 1


async def flood(options: argparse.Namespace, promises: dict[str, bool]) -> Findings:
    """Capacity with 32 callers, then four times as many arrivals, then that with stalled connections beside it."""
    async with serving(options, REQUEST_TIMEOUT_MS=str(DEADLINE_MS)) as server:
        with tempfile.TemporaryDirectory() as folder:
            sample = Pictures(await first_model(server), "mixed", make(Path(folder), PICTURES), {})
            target = measure.target(server, OURS, sample, Path(folder, "bodies"))
            found = await rounds(target, options.rounds, options.scale)
    every = found["rounds"]
    floods = [one[kind] for one in every for kind in ("flooded", "beside_stalled")]
    answered = {status for flooded in floods for status in flooded["statuses"]}
    after = [one["two_seconds_after"]["p99_ms"] <= 2 * one["normal"]["p99_ms"] + 5 for one in every]
    promises["flood: every request is answered 200, 429 or 504"] = answered <= {"200", "429", "504"} and all(
        flooded["sent"] == sum(flooded["statuses"].values()) for flooded in floods
    )
    promises["flood: goodput is 0.9 of capacity or more"] = found["goodput_of_capacity"] >= 0.9
    promises["flood: accepted p99 is within the deadline"] = all(f["p99_ms"] <= DEADLINE_MS for f in floods)
    promises["flood: two seconds later latency is as before"] = sum(after) * 2 > len(after)
    promises["500 stalled connections change goodput by less than 10 %"] = found["change_by_stalled"] < 0.1
    return found


async def sigterm(options: argparse.Namespace, promises: dict[str, bool]) -> Findings:
    """End the server under load, again and again.

    A request is lost when it got no whole answer although it was sent while the server was there for everybody, or
    when an answer to it had begun.
    """
    rounds = options.times or max(1, round(20 * options.scale))
    outcomes: Counter[str] = Counter()
    lost = never_accepted = 0
    for _ in range(rounds):
        async with serving(options, SHUTDOWN_NOTICE_MS=f"{1000 * NOTICE_S:g}") as server:
            ask = await asker(server)
            users = [asyncio.create_task(_until_gone(ask)) for _ in range(16)]
            await asyncio.sleep(1)
            told_at = asyncio.get_running_loop().time()
            server.send_signal(signal.SIGTERM)
            await asyncio.to_thread(server.wait, 60)
            for statuses, broken in await asyncio.gather(*users):
                outcomes.update(statuses)
                was_accepted = broken.answer_begun or broken.sent_at < told_at + NOTICE_S
                lost += was_accepted
                never_accepted += not was_accepted
    promises[f"{rounds} SIGTERMs under load: no accepted request is lost"] = lost == 0
    promises["SIGTERM: what is refused is refused with 503"] = set(outcomes) <= {"200", "503"}
    return {"n": rounds, "lost": lost, "never_accepted": never_accepted, "outcomes": dict(outcomes)}


async def hostile(options: argparse.Namespace, promises: dict[str, bool]) -> Findings:
    """Mutated inputs after ordinary ones, and the memory that they leave behind."""
    count = options.inputs or max(WAVE, round(10_000 * options.scale))
    async with serving(options) as server, callers(server) as client:
        path, worker = await _predict_path(server), server.worker()
        ready = _resident_bytes(worker)
        await closed_loop(await asker(server), users=16, seconds=2)
        before = _reset_peak(worker)
        statuses: Counter[str] = Counter()
        slowest_s = 0.0
        for seed, start in enumerate(range(0, count, WAVE)):
            every = list(attacks(seed, min(WAVE, count - start)))
            sent = (_send(client, path, every[lane::16]) for lane in range(16))
            for told, longest_s in await asyncio.gather(*sent):
                statuses += told
                slowest_s = max(slowest_s, longest_s)
        after, peak = _resident_bytes(worker), _peak_bytes(worker)
        same = worker == server.worker()
    whole = all(status.isdigit() for status in statuses)
    promises[f"{count} hostile inputs: no 5xx"] = not any(status.startswith("5") for status in statuses)
    promises["hostile inputs: each is answered"] = whole and statuses.total() == count
    promises["hostile inputs: the worker lives"] = same
    promises["hostile inputs: memory grows by 50 MB or less"] = after - before <= MOST_RISE_BYTES
    memory = {"ready": ready, "after_ordinary_pictures": before, "after": after, "peak": peak}
    return {"n": count, "statuses": dict(statuses), "slowest_ms": round(1000 * slowest_s, 1), "resident_bytes": memory}


async def claims(options: argparse.Namespace, promises: dict[str, bool]) -> Findings:
    """Pictures that claim gigapixels, one after the other on an open connection: time, and memory at its peak."""
    lies = {"64-byte header of 65,000 x 65,000": lying_header(), "PNG of 46,000 x 46,000": png_bomb()}
    taken: dict[str, list[float]] = {name: [] for name in lies}
    statuses: Counter[str] = Counter()
    async with serving(options) as server:
        path, worker, lines = await _predict_path(server), server.worker(), Lines(server.url)
        await lines.status_of(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")  # connects
        before = _reset_peak(worker)
        for _ in range(CLAIMS):
            for name, body in lies.items():
                began = time.monotonic()
                statuses[await lines.status_of(_request(path, body))] += 1
                taken[name].append(round(1000 * (time.monotonic() - began), 2))
        rise = _peak_bytes(worker) - before
    promises["gigapixel claims: refused within 50 ms"] = max(map(max, taken.values())) < 50 and set(statuses) == {"413"}
    promises["gigapixel claims: memory rises by less than 50 MB"] = rise < MOST_RISE_BYTES
    medians = {name: statistics.median(ms) for name, ms in taken.items()}
    sizes = {name: len(body) for name, body in lies.items()}
    return {"n": CLAIMS, "bytes": sizes, "statuses": dict(statuses), "peak_rise_bytes": rise} | {
        "median_ms": medians,
        "ms": taken,
    }


PARTS: dict[str, Callable[[argparse.Namespace, dict[str, bool]], Awaitable[Findings]]] = {
    "flood": flood,
    "sigterm": sigterm,
    "hostile": hostile,
    "claims": claims,
}


@contextlib.asynccontextmanager
async def serving(options: argparse.Namespace, **settings: str) -> AsyncIterator[Server]:
    """A server of our own with these settings and no others, ready."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith("SIGHTLINE_")}
    with servers.sightline(environ, MODELS=str(options.models), **settings) as server:
        yield server


def callers(server: Server) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=1_000, max_keepalive_connections=1_000)
    return httpx.AsyncClient(base_url=server.url, limits=limits, timeout=30)


class Lines:
    """Kept-alive connections, as few as there are requests at once. httpx would take more time than the server does."""

    def __init__(self, url: str) -> None:
        self._port = int(url.rpartition(":")[2])
        self._idle: list[tuple[float, asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def status_of(self, request: bytes) -> str:
        """Send a whole request and read its whole answer.

        Raises OSError or IncompleteReadError where the connection breaks, and EOFError in the midst of an answer.
        """
        reader, writer = self._fresh() or await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        try:
            await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        except asyncio.IncompleteReadError as error:
            raise EOFError("the answer broke off") from error
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


async def asker(server: Server) -> Callable[[], Awaitable[str]]:
    """Ask the first model about one of several pictures; gives the status."""
    path = await _predict_path(server)
    requests = itertools.cycle([_request(path, body) for body in bodies()])
    lines = Lines(server.url)
    return lambda: lines.status_of(next(requests))


def bodies() -> list[bytes]:
    """The pictures that are sent, of every size."""
    with tempfile.TemporaryDirectory() as folder:
        return [picture.body for picture in make(Path(folder), PICTURES)]


def _request(path: str, body: bytes) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def first_model(server: Server) -> str:
    async with callers(server) as client:
        return str((await client.get("/v1/models")).json()["models"][0]["model"])


async def _predict_path(server: Server) -> str:
    return f"/v1/models/{await first_model(server)}/predict"


async def _send(client: httpx.AsyncClient, path: str, every: Iterable[Attack]) -> tuple[Counter[str], float]:
    """How each was answered, or how it failed, and the seconds that the slowest took."""
    told: Counter[str] = Counter()
    slowest_s = 0.0
    for attack in every:
        began = time.monotonic()
        try:
            answer = await client.post(path, content=attack.body, headers={"content-type": attack.media_type})
            told[str(answer.status_code)] += 1
        except httpx.HTTPError as error:
            told[type(error).__name__] += 1
        slowest_s = max(slowest_s, time.monotonic() - began)
    return told, slowest_s


async def closed_loop(ask: Callable[[], Awaitable[str]], users: int, seconds: float) -> Findings:
    until = time.monotonic() + seconds
    statuses: Counter[str] = Counter()
    took_s: list[float] = []

    async def user() -> None:
        while time.monotonic() < until:
            await _timed(ask, statuses, took_s)

    await asyncio.gather(*(user() for _ in range(users)))
    return _summary(statuses, took_s, seconds)


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


class Broken(NamedTuple):
    """The request that got no whole answer."""

    sent_at: float
    answer_begun: bool


async def _until_gone(ask: Callable[[], Awaitable[str]]) -> tuple[Counter[str], Broken]:
    """Ask until there is no answer."""
    statuses: Counter[str] = Counter()
    while True:
        sent_at = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(HANGS_AFTER_S):
                statuses[await ask()] += 1
        except asyncio.IncompleteReadError as error:
            return statuses, Broken(sent_at, answer_begun=bool(error.partial))
        except (TimeoutError, EOFError):  # it was accepted, and never answered; or not to the end
            return statuses, Broken(sent_at, answer_begun=True)
        except OSError:
            return statuses, Broken(sent_at, answer_begun=False)


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _reset_peak(pid: int) -> int:
    """Have the kernel count the peak anew, and give the bytes that are resident now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _resident_bytes(pid)


def _peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=ROOT / "models", help="folder of models to serve")
    parser.add_argument("--scale", type=float, default=0.05, help="1 is the whole of it (default: %(default)s)")
    possible = [part for part in PARTS if part != "flood" or shutil.which("wrk")]
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=possible, help="default: all; a flood needs wrk")
    parser.add_argument("--rounds", type=int, default=1, help="of the flood (default: %(default)s)")
    parser.add_argument("--times", type=int, help="SIGTERMs (default: 20 times the scale)")
    parser.add_argument("--inputs", type=int, help="hostile inputs (default: 10,000 times the scale)")
    parser.add_argument("--out", type=Path, default=record.RESULTS / "latest" / "chaos.json")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
