"""Rollbacks, and canaries that are right and wrong."""

from __future__ import annotations

import itertools
import statistics
from typing import Any

from load_tests import servers
from load_tests.generators.target import Target
from load_tests.record import Findings
from load_tests.rollout.server import Served
from load_tests.rollout.versions import copy, swapped

MOST_REQUESTS = 500  # until a canary that answers wrongly is shut off
GOOD_REQUESTS = 1_000  # after which a good one is still there
ROLLED_BACK_S = 1.0


def rollback(served: Served, times: int, promises: dict[str, bool]) -> Findings:
    """Seconds from the write of the file to the first answer of the other version, both of them loaded."""
    served.say(stable=1, keep=None)
    served.wait_until(lambda: served.states().get(2) == "ready" and served.about()["version"] == 1, "both are loaded")
    took = []
    for version in itertools.islice(itertools.cycle((2, 1)), 2 * times):
        served.say(stable=version)
        took.append(served.wait_until(lambda v=version: served.about()["version"] == v, f"version {version} answers"))  # type: ignore[misc]
    promises["a rollback by alias takes effect in less than a second"] = max(took) < ROLLED_BACK_S
    return {"n": len(took), "median_s": round(statistics.median(took), 3), "longest_s": round(max(took), 3)}


def judged(served: Served, target: Target, options: Any, promises: dict[str, bool]) -> Findings:
    """How many requests a wrong canary lasts, and whether a good one is ever shut off."""
    wrong = copy(served.models, served.name, 1, swapped)
    good = copy(served.models, served.name, 1)
    for version in (wrong, good):
        served.wait_until(lambda v=version: served.states().get(v) == "ready", f"version {version} is ready")  # type: ignore[misc]
    lasted = [_until_shut_off(served, target, wrong, MOST_REQUESTS) for _ in range(options.canaries)]
    kept = [_until_shut_off(served, target, good, GOOD_REQUESTS) for _ in range(options.canaries)]
    promises[f"a wrong canary is shut off in less than {MOST_REQUESTS} requests"] = max(lasted) < MOST_REQUESTS
    promises["a good canary is never shut off"] = min(kept) == GOOD_REQUESTS
    return {"n": options.canaries, "wrong_lasted_requests": lasted, "good_requests": kept}


def _until_shut_off(served: Served, target: Target, canary: int, most: int) -> int:
    """Requests of one caller after another, until the canary gets none any more or there were enough."""
    served.say(stable=1, canary=None, canary_weight=None)
    served.wait_until(lambda: "canary" not in served.about()["aliases"], "no canary")
    served.say(canary=canary, canary_weight=0.1, sticky="off")
    served.wait_until(lambda: str(canary) in served.about()["weights"], "a canary")
    bodies = itertools.cycle([(target.folder / str(number)).read_bytes() for number in range(target.bodies)])
    for sent in range(1, most + 1):
        servers.fetch(target.url, next(bodies), target.media_type)
        if sent % 10 == 0 and "canary_shut_off" in served.about():
            return sent
    return most
