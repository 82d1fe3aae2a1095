"""wrk, for capacity and floods: one in Python would take a share of the processors that grows with the rate."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from load_tests.generators.target import Target
from load_tests.record import Findings

CLOSED_LOOP, FLOOD, VERSIONS = (
    Path(__file__).with_name(name) for name in ("closed_loop.lua", "flood.lua", "versions.lua")
)
MOST_CONNECTIONS = 500  # of a flood, as a proxy would keep; see docs/tuning.md#flood-connections
# wrk's copies of large requests stay in the process; see docs/tuning.md#flood-memory
FLOOD_ENVIRON = {"MALLOC_MMAP_THRESHOLD_": "1000000000", "MALLOC_TRIM_THRESHOLD_": "1000000000"}
DRAIN_S = 4  # after a flood, until the last answer


class Wrk:
    """A wrk that runs. `said` waits for its end and gives the line of JSON that its script prints.

    One thread: more would take the server's core.
    """

    def __init__(
        self, target: Target, script: Path, options: list[str], arguments: list[str], environ: Mapping[str, str]
    ) -> None:
        if (wrk := shutil.which("wrk")) is None:
            raise SystemExit("wrk is missing; it is a package of that name in Debian")
        command = [wrk, "-t1", *options, "-s", str(script), target.url, "--", str(target.folder), str(target.bodies)]
        self._running = subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, text=True, env={**os.environ, **environ}
        )

    @classmethod
    def closed_loop(cls, target: Target, connections: int, seconds: float) -> Self:
        """Each connection posts again once it is answered. A slow answer, up to 30 s, is not a failed one."""
        return cls._in_a_loop(CLOSED_LOOP, target, connections, seconds)

    @classmethod
    def versions(cls, target: Target, connections: int, seconds: float) -> Self:
        """As `closed_loop`; it also counts answers by version and by status."""
        return cls._in_a_loop(VERSIONS, target, connections, seconds)

    @classmethod
    def _in_a_loop(cls, script: Path, target: Target, connections: int, seconds: float) -> Self:
        options = [f"-c{connections}", f"-d{math.ceil(seconds)}s", "--timeout", "30s"]
        return cls(target, script, options, [target.media_type], {})

    @classmethod
    def flood(cls, target: Target, seconds: int, connections: int = MOST_CONNECTIONS, per_s: float = 0.0) -> Self:
        """At random times of a rate, or without one as fast as each connection is answered."""
        options = [f"-c{connections}", f"-d{seconds + DRAIN_S}s", "--timeout", "60s"]
        arguments = [str(seconds), *([f"{per_s:.1f}"] if per_s else [])]
        return cls(target, FLOOD, options, arguments, FLOOD_ENVIRON)

    @property
    def is_running(self) -> bool:
        return self._running.poll() is None

    def stop(self) -> None:
        """End the measurement now; what was seen so far counts."""
        self._running.send_signal(signal.SIGINT)

    def said(self) -> dict[str, Any]:
        """Raises RuntimeError where wrk failed."""
        text, _ = self._running.communicate()
        if self._running.returncode:
            raise RuntimeError(f"wrk ended with {self._running.returncode}: {text}")
        seen: dict[str, Any] = json.loads(text.strip().rpartition("\n")[2])
        return seen


def load(target: Target, connections: int, seconds: float) -> Findings:
    """What wrk saw in a closed loop, and the most memory of all the server's processes at the middle and the end.

    Gives `per_s`, `requests`, `seconds`, `failures`, `p50_ms`, `p99_ms` and `memory_mb`. Raises RuntimeError where the
    server ended.
    """
    running, server = Wrk.closed_loop(target, connections, seconds), target.server
    until = time.monotonic() + seconds
    time.sleep(seconds / 2)
    held = server.memory_bytes()
    if seconds != math.ceil(seconds):  # wrk itself counts whole seconds only
        time.sleep(max(0.0, until - time.monotonic()))
        running.stop()
    seen = running.said()
    if server.poll() is not None:
        raise RuntimeError(f"the server ended under load; its log ends:\n{server.log.read_text()[-2000:]}")
    memory = max(held, server.memory_bytes())
    return {"per_s": round(seen["requests"] / seen["seconds"], 1), **seen, "memory_mb": round(memory / 1e6, 1)}


def flood(target: Target, seconds: int, *, connections: int = MOST_CONNECTIONS, per_s: float = 0.0) -> Findings:
    """What came of a flood, as `flooded` reports it."""
    return flooded(Wrk.flood(target, seconds, connections, per_s), seconds)


def flooded(running: Wrk, seconds: int) -> Findings:
    """Requests sent, answers by status, right answers a second while requests were sent, and their times.

    Of a rate also how late the load generator was; much of it makes the times its own.
    """
    found = running.said()
    return {"per_s": round(found.pop("good") / seconds, 1), "offered_per_s": round(found["sent"] / seconds, 1)} | found
