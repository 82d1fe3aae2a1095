"""Bodies of few bytes that become many, and JSON that does when it is parsed, beside honest pictures."""

from __future__ import annotations

import argparse
import gzip
import io
import itertools
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from PIL import Image

from load_tests.chaos.server import HANGS_AFTER_S, first_model, peak_bytes, post_honest, reset_peak, serving
from load_tests.generators.arrivals import Answer, Connections, summary
from load_tests.generators.target import Target
from load_tests.record import Findings

TIMES = 200  # of each kind
AT_ONCE = 60
HONEST_PER_S = 20.0
LEAST_HONEST = 100  # requests beside each kind
WARM_UP = 300  # honest pictures before, so that buffers have their size
BYTES = 9_990_000  # just below the largest body
MOST_P99_MS = 500.0
MOST_RISE_BYTES = 300_000_000
MEANT_FOR_THEM = {"200", "400", "413", "415", "422", "429"}  # statuses


class Kind(NamedTuple):
    """A request that is sent again and again; `path` follows the model's."""

    path: str
    headers: str
    body: Callable[[], bytes]


def repeated(head: bytes, one: bytes) -> bytes:
    return head + one * ((BYTES - len(head)) // len(one))


def infer(one: bytes) -> bytes:
    return repeated(b'{"inputs":[{"name":"image","datatype":"UINT8","shape":[1,8,8,3],"data":[', one)


def blank_bmp() -> bytes:
    """A large picture, which compresses to a few kilobytes."""
    out = io.BytesIO()
    Image.new("RGB", (1_800, 1_800)).save(out, "BMP")
    return out.getvalue()


GZIP, JSON = "Content-Encoding: gzip\r\n", "Content-Type: application/json\r\n"
BARE = "Inference-Header-Content-Length: 0\r\n"

KINDS = {
    "gzip of lists": Kind("/v2/models/{}/infer", JSON + GZIP, lambda: gzip.compress(infer(b"[],"))),
    "gzip of numbers": Kind("/v2/models/{}/infer", JSON + GZIP, lambda: gzip.compress(infer(b"1.5,"))),
    "gzip of a picture": Kind("/v2/models/{}/infer", BARE + GZIP, lambda: gzip.compress(blank_bmp())),
    "lists": Kind("/v2/models/{}/infer", JSON, lambda: infer(b"[],")),
    "numbers": Kind("/v2/models/{}/infer", JSON, lambda: infer(b"1.5,")),
    "objects": Kind("/v1/models/{}/predict", JSON, lambda: repeated(b"[", b"{},")),
    "members": Kind("/v1/models/{}/predict", JSON, lambda: repeated(b'{"image":"', b'","a":"b')),
    "one text": Kind("/v1/models/{}/predict", JSON, lambda: repeated(b'{"image":"', b"A")[:-14] + b'\\ud83d\\ude00"}'),
}


def measured(options: argparse.Namespace, promises: dict[str, bool]) -> Findings:
    """Each kind --inputs times, as many at once as may, while honest pictures come at their own rate."""
    times, found = options.inputs or TIMES, {}
    with serving(options) as server, first_model(server) as target:
        worker = server.worker()
        post_honest(target, itertools.repeat(0.0, WARM_UP), most=16)
        for name, kind in KINDS.items():
            before = reset_peak(worker)
            found[name] = _beside(target, kind, times)
            found[name]["peak_rise_bytes"] = peak_bytes(worker) - before
            print(name, found[name], flush=True)
    every = found.values()
    promises[f"{times} bodies of each kind that unfold: each is answered, none with 5xx"] = all(
        set(one["statuses"]) <= MEANT_FOR_THEM and sum(one["statuses"].values()) == times for one in every
    )
    promises["beside bodies that unfold: no honest one fails"] = all(
        set(o["honest"]["statuses"]) == {"200"} for o in every
    )
    promises["beside bodies that unfold: honest p99 is below 500 ms"] = all(
        one["honest"]["p99_ms"] < MOST_P99_MS for one in every
    )
    promises["beside bodies that unfold: memory rises by less than 300 MB"] = all(
        one["peak_rise_bytes"] < MOST_RISE_BYTES for one in every
    )
    return {"n": times, "at_once": AT_ONCE, "kinds": found}


def _beside(target: Target, kind: Kind, times: int) -> Findings:
    with ThreadPoolExecutor(1) as beside:
        attack = beside.submit(_attack, target, kind, times)
        moments = itertools.count(1)
        due_s = (
            n / HONEST_PER_S for n in itertools.takewhile(lambda n: n <= LEAST_HONEST or not attack.done(), moments)
        )
        honest = post_honest(target, due_s, most=250)
        hostile = attack.result()
    return {
        "statuses": dict(Counter(answer.status for answer in hostile)),
        "slowest_ms": round(1000 * max(answer.answered_in_s for answer in hostile)),
        "honest": summary(honest),
    }


def _attack(target: Target, kind: Kind, times: int) -> list[Answer]:
    body, model = kind.body(), target.path.split("/")[3]
    head = f"POST {kind.path.format(model)} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{kind.headers}"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    connections = Connections(target.port, most=AT_ONCE, answer_within_s=HANGS_AFTER_S)
    return connections.post(itertools.repeat(request, times), itertools.repeat(0.0))
