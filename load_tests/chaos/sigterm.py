"""SIGTERM under load: no accepted request is lost."""

from __future__ import annotations

import argparse
import itertools
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator

from load_tests.chaos.server import HANGS_AFTER_S, first_model, serving
from load_tests.generators.arrivals import Answer, Connections
from load_tests.record import Findings
from load_tests.servers import Server

NOTICE_S = 0.5  # between SIGTERM and the end of the socket
USERS = 16  # requests at a time
LOADED_S = 1.0  # before SIGTERM


def measured(options: argparse.Namespace, promises: dict[str, bool]) -> Findings:
    """End the server under load, again and again.

    A request is lost when it got no whole answer although it was sent while the server was there for everybody, or
    when an answer to it had begun.
    """
    rounds = options.times or max(1, round(20 * options.scale))
    outcomes: Counter[str] = Counter()
    lost = never_accepted = 0
    for _ in range(rounds):
        with serving(options, SHUTDOWN_NOTICE_MS=f"{1000 * NOTICE_S:g}") as server:
            for answer, was_accepted in _until_gone(server):
                outcomes.update([] if answer.fault else [answer.status])
                lost += bool(answer.fault) and was_accepted
                never_accepted += bool(answer.fault) and not was_accepted
    promises[f"{rounds} SIGTERMs under load: no accepted request is lost"] = lost == 0
    promises["SIGTERM: what is refused is refused with 503"] = set(outcomes) <= {"200", "503"}
    return {"n": rounds, "lost": lost, "never_accepted": never_accepted, "outcomes": dict(outcomes)}


def _until_gone(server: Server) -> Iterator[tuple[Answer, bool]]:
    """Post until the server is gone: each answer, and whether the server had accepted the request."""
    ended_at: list[float] = []

    def end() -> None:
        ended_at.append(time.monotonic())
        server.send_signal(signal.SIGTERM)

    with first_model(server) as target:
        timer = threading.Timer(LOADED_S, end)
        timer.start()
        connections = Connections(target.port, first=USERS, most=USERS, answer_within_s=HANGS_AFTER_S)
        answers = connections.post(itertools.cycle(target.requests()), itertools.repeat(0.0))
        timer.join()
    server.wait(60)
    for answer in answers:
        was_open = answer.sent_at < ended_at[0] + NOTICE_S
        yield answer, was_open or bool(answer.content) or answer.fault == "hung"
