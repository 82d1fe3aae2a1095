"""Hostile pictures at a steady rate beside honest ones: nobody honest notices, and nothing is left of them.

Needs --corpus, a folder that `python -m tests.hostile FOLDER` has written: pictures, and what is right for each.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from load_tests.chaos.server import HANGS_AFTER_S, first_model, post_honest, serving
from load_tests.generators.arrivals import Answer, Connections, summary
from load_tests.generators.target import Target
from load_tests.record import Findings
from load_tests.servers import Server

HOSTILE_PER_S = 50.0
HONEST_PER_S = 20.0
WARM_UP = 300  # honest pictures before, so that buffers have their size
IDLE_S = 150.0  # by then decode processes have ended, and the server has given back what its heaps held
MOST_P99_MS = 500.0
MOST_RISE_BYTES = 50_000_000
SHED = {"queue-full", "decoders-busy", "too-many-bytes", "overloaded", "deadline-passed", "too-many-connections"}
DECODE_PROCESS = b"classifier.decode_process"

_ID = re.compile(rb"\r\nx-request-id: *hostile-(\d+)\r", re.IGNORECASE)
_CODE = re.compile(rb"\r\nx-error-code: *([a-z-]+)\r", re.IGNORECASE)


def measured(options: argparse.Namespace, promises: dict[str, bool]) -> Findings:
    """All pictures of the corpus, or as many as --inputs says, while honest ones come at another rate."""
    index = json.loads((options.corpus / "index.json").read_text())[: options.inputs]
    seconds = len(index) / HOSTILE_PER_S
    with serving(options) as server, first_model(server) as target, ThreadPoolExecutor(1) as beside:
        post_honest(target, itertools.repeat(0.0, WARM_UP), most=16)
        before = server.memory_bytes()
        attack = beside.submit(_attack, target, options.corpus, index)
        honest = post_honest(
            target, (number / HONEST_PER_S for number in range(round(seconds * HONEST_PER_S))), most=250
        )
        hostile = attack.result()
        time.sleep(IDLE_S)
        after, left = server.memory_bytes(), decode_processes(server)
        post_honest(target, itertools.repeat(0.0, 32), most=16)
    wrong, codes = _judged(hostile, index)
    found = summary(honest)
    promises[f"{len(index)} hostile pictures: each has its answer"] = not wrong
    promises["beside hostile pictures: no honest one fails"] = set(found["statuses"]) == {"200"}
    promises["beside hostile pictures: honest p99 is below 500 ms"] = found["p99_ms"] < MOST_P99_MS
    promises["after hostile pictures: memory is within 50 MB of before"] = after - before <= MOST_RISE_BYTES
    promises["after hostile pictures: no decode process is left"] = not left
    memory = {"before": before, "after": after}
    return {
        "n": len(index),
        "codes": dict(codes),
        "wrong": wrong,
        "honest": found,
        "memory_bytes": memory,
        "left": left,
    }


def decode_processes(server: Server) -> list[int]:
    """The ids of the server's decode processes."""
    return [pid for pid in server.process_ids() if DECODE_PROCESS in Path(f"/proc/{pid}/cmdline").read_bytes()]


def _attack(target: Target, folder: Path, index: Sequence[Mapping[str, str]]) -> list[Answer]:
    connections = Connections(target.port, most=250, answer_within_s=HANGS_AFTER_S)
    requests = (_request(target.path, (folder / one["file"]).read_bytes(), n) for n, one in enumerate(index))
    return connections.post(requests, (number / HOSTILE_PER_S for number in range(len(index))))


def _request(path: str, body: bytes, number: int) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/octet-stream\r\n"
    return f"{head}X-Request-Id: hostile-{number}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _judged(answers: Sequence[Answer], index: Sequence[Mapping[str, str]]) -> tuple[dict[str, str], Counter[str]]:
    """By name, the answers that are not right; and all of them by code."""
    wrong: dict[str, str] = {}
    codes: Counter[str] = Counter()
    unanswered = set(range(len(index)))
    for answer in answers:
        head = answer.content.partition(b"\r\n\r\n")[0] + b"\r"
        code = "ok" if answer.status == "200" else (_CODE.search(head) or [b"", answer.status.encode()])[1].decode()
        codes[code] += 1
        if number := _ID.search(head):
            unanswered.discard(int(number[1]))
            one = index[int(number[1])]
            if code not in SHED and code not in one["codes"]:
                wrong[one["name"]] = code
    return wrong | {index[number]["name"]: "no answer" for number in unanswered}, codes
