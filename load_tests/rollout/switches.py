"""Switches between versions, broken versions and canary weights, under load."""

from __future__ import annotations

import itertools
import time
from typing import Any

from load_tests.chaos.server import resident_bytes
from load_tests.generators.target import Target
from load_tests.generators.wrk import Wrk
from load_tests.record import Findings
from load_tests.rollout.server import Served
from load_tests.rollout.versions import BROKEN, copy, drop_broken

CONNECTIONS = 32
FIRST_BROKEN = 100  # their versions' number; the sound ones are below
MOST_SLOWER_MS = 50
MOST_GROWTH = 20_000_000
LONGEST_S = 3_000  # of wrk, which is stopped when the work is done


def measured(served: Served, target: Target, options: Any, promises: dict[str, bool]) -> Findings:
    """Load before, then all changes with load beside them, then the memory when nothing waits."""
    found: Findings = {"connections": CONNECTIONS, "before": Wrk.versions(target, CONNECTIONS, options.seconds).said()}
    served.say(stable=1, keep=1)
    served.wait_until(lambda: served.states()[2] == "retired", "version 2 is unloaded")
    _switch(served, 2)  # so that what is made once is made before, the memory of batches included
    _switch(served, 1)
    Wrk.versions(target, CONNECTIONS, options.seconds)
    time.sleep(1)
    memory = resident_bytes(served.server.worker())
    unready = 0
    for what, change in (("switches", _switches), ("weights", _weights), ("broken", _broken)):
        running = Wrk.versions(target, CONNECTIONS, LONGEST_S)
        try:
            time.sleep(1)
            times = change(served, getattr(options, what), served.is_ready)
        finally:
            running.stop()
        found[what] = running.said() | {"n": getattr(options, what)} | times
        unready += times["unready"]
        if what == "switches":
            time.sleep(1)
            found["memory_growth_mb"] = round((resident_bytes(served.server.worker()) - memory) / 1e6, 1)
    _promise(found, promises, unready)
    return found


def _promise(found: Findings, promises: dict[str, bool], unready: int) -> None:
    during = [found[what] for what in ("switches", "weights", "broken")]
    answered = {int(version) for one in during for version in one["versions"] if version != "none"}
    promises["no request fails"] = not any(one["failures"] for one in during)
    promises["every answer is by a version that was ready"] = all(v < FIRST_BROKEN for v in answered) and not any(
        "none" in one["versions"] for one in during
    )
    promises["/readyz is never 503"] = unready == 0
    slower = max(one["p99_ms"] for one in during) - found["before"]["p99_ms"]
    promises[f"p99 is at most {MOST_SLOWER_MS} ms above what it was before"] = slower <= MOST_SLOWER_MS
    promises["memory after the switches is at most 20 MB more"] = found["memory_growth_mb"] * 1e6 <= MOST_GROWTH


def _switch(served: Served, version: int) -> float:
    served.say(stable=version)
    return served.wait_until(
        lambda: served.about()["version"] == version and list(served.states().values()).count("ready") == 1,
        f"version {version} answers",
    )


def _switches(served: Served, times: int, is_ready: Any) -> Findings:
    """One version is kept loaded, so each switch loads one and unloads the other."""
    took, unready = [], 0
    for version in itertools.islice(itertools.cycle((2, 1)), times):
        took.append(_switch(served, version))
        unready += not is_ready()
    return {"longest_s": round(max(took), 3), "unready": unready}


def _broken(served: Served, times: int, is_ready: Any) -> Findings:
    unready = 0
    for number, kind in enumerate(itertools.islice(itertools.cycle(BROKEN), times)):
        drop_broken(served.models, served.name, 1, kind, FIRST_BROKEN + number)
    broken = set(range(FIRST_BROKEN, FIRST_BROKEN + times))

    def are_broken() -> bool:
        nonlocal unready
        unready += not is_ready()
        states = served.states()
        return all(states.get(version) == "broken" for version in broken)

    took = served.wait_until(are_broken, "the broken versions are found broken")
    reasons = {e["version"]: e.get("reason", "") for e in served.about()["states"] if e["version"] in broken}
    return {"found_within_s": round(took, 3), "unready": unready, "reasons": reasons}


def _weights(served: Served, times: int, is_ready: Any) -> Findings:
    served.say(stable=1, keep=None)
    canary = copy(served.models, served.name, 1)
    served.wait_until(lambda: served.states().get(canary) == "ready", "the canary is ready")
    took, unready = [], 0
    for step in range(times):
        weight = round((step + 1) / times, 3)
        served.say(stable=1, canary=canary, canary_weight=weight, sticky="off")
        took.append(
            served.wait_until(
                lambda weight=weight: served.about()["weights"].get(str(canary)) == weight,  # type: ignore[misc]
                f"weight {weight}",
            )
        )
        unready += not is_ready()
        time.sleep(0.3)
    served.say(canary=None, canary_weight=None)
    return {"longest_s": round(max(took), 3), "unready": unready}
