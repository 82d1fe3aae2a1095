"""Callers who send pictures, ask about models, and check every answer against the command line's.

Two kinds of traffic, by the class that is named:
- `Arrivals`: requests come at `--rate` a second, evenly spaced, however long the others take. For latency.
- `Caller`: `--users` callers, each sending the next request when the last is answered. For capacity.
Pictures have 32x32, 500x374 and 12 million pixels and travel raw; others of many sizes go as a form, as base64 and in
batches, every second of which holds a broken picture that must be refused in its place. The run fails on any fault, and
where a limit of `--slo` is broken.

Run:  python -m load_tests.run        (starts a server, see there)
      locust -f load_tests/generators/locustfile.py Arrivals --users 1 --rate 20 --host http://localhost:3000
"""

from __future__ import annotations

import base64
import json
import random
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from urllib.request import urlopen

import gevent
from gevent.pool import Group
from locust import FastHttpUser, events, task
from locust.env import Environment

from load_tests import objectives, offline, pictures, record
from load_tests.objectives import Seen
from load_tests.pictures import Picture

BATCH = 16
SIZES = {"32x32": ((32, 32), 12), "500x374": ((500, 374), 12), "12 MP": ((4000, 3000), 2)}
STEP_S = 0.002  # how finely `Arrivals` keeps its schedule


class Model(NamedTuple):
    """A served model, with what it has to answer to each picture."""

    name: str
    tolerance: float
    expected: dict[Path, dict[str, float]]


PICTURES: dict[str, list[Picture]] = {}  # by the names of SIZES, and "mixed"
MODELS: list[Model] = []


@events.init_command_line_parser.add_listener
def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second, for Arrivals")
    parser.add_argument("--slo", default=str(record.ROOT / "load_tests" / "slo.toml"), help="file with the limits")
    parser.add_argument("--summary", default="", help="file for the run's figures and circumstances, as JSON")


@events.init.add_listener
def learn_the_right_answers(environment: Environment, **_: Any) -> None:
    """Before the clock starts: make the pictures, ask the server what it serves and the command line what is right."""
    with tempfile.TemporaryDirectory(prefix="load-test-") as folder:
        try:
            objectives.read(Path(environment.parsed_options.slo))
            PICTURES.update(_drawn(Path(folder)))
            names = [entry["model"] for entry in _get(f"{environment.host}/v1/models")["models"]]
            MODELS[:] = [_learned(_get(f"{environment.host}/v1/models/{name}")) for name in names]
        except (OSError, ValueError, RuntimeError) as error:
            raise SystemExit(f"no right answers to compare with: {error}") from error


@events.quitting.add_listener
def judge(environment: Environment, **_: Any) -> None:
    """A run without answers has shown nothing, and one whose own code failed has not looked at all of them."""
    options, total = environment.parsed_options, environment.stats.total
    seen = [_seen(entry) for entry in environment.stats.entries.values()]
    broken = list(objectives.broken(objectives.read(Path(options.slo)), seen))
    faults = broken or total.num_failures or environment.runner.exceptions or not total.num_requests
    environment.process_exit_code = 1 if faults else 0
    traffic = {"answered": total.num_requests - total.num_failures, "served_per_s": round(total.total_rps, 1)} | OFFERED
    print(json.dumps(traffic), *(f"BROKEN {line}" for line in broken), sep="\n", flush=True)
    if options.summary:
        scenarios = {one.name: {"requests": one.requests} | one.figures() for one in seen}
        parts = {"traffic": traffic, "scenarios": scenarios, "broken": broken}
        record.write(Path(options.summary), record.circumstances() | parts)


def predict_raw(size: str) -> Callable[[FastHttpUser], None]:
    def predict(user: FastHttpUser) -> None:
        picture = random.choice(PICTURES[size])
        _predict(user, picture, f"raw {size}", picture.body, picture.media_type)

    return predict


def predict_form(user: FastHttpUser) -> None:
    picture = random.choice(PICTURES["mixed"])
    _predict(user, picture, "form", *_form("image", [picture.body]))


def predict_json(user: FastHttpUser) -> None:
    picture = random.choice(PICTURES["mixed"])
    body = json.dumps({"image": base64.b64encode(picture.body).decode()}).encode()
    _predict(user, picture, "json", body, "application/json")


def predict_batch(user: FastHttpUser) -> None:
    model = random.choice(MODELS)
    chosen = random.sample(PICTURES["mixed"], BATCH)
    bodies = [picture.body for picture in chosen]
    refused = random.randrange(BATCH * 2)  # in every second batch beyond its end: nothing is broken there
    if refused < BATCH:
        bodies[refused] = pictures.broken(chosen[refused])
    body, kind = _form("images", bodies)
    with _post(user, model, "predict-batch", f"predict-batch of {BATCH}", body, kind) as answer:
        if answer.status_code == 200:
            _check_batch(answer, model, chosen, refused)


def metadata(user: FastHttpUser) -> None:
    model = random.choice(MODELS)
    with user.client.get(f"/v1/models/{model.name}", name=f"{model.name} metadata", catch_response=True) as answer:
        if answer.status_code == 200 and json.loads(answer.text)["model"] != model.name:
            answer.failure("about another model")


SCENARIOS: dict[str, tuple[Callable[[FastHttpUser], None], int]] = {  # with their weights
    "predict raw 32x32": (predict_raw("32x32"), 6),
    "predict raw 500x374": (predict_raw("500x374"), 6),
    "predict raw 12 MP": (predict_raw("12 MP"), 1),
    "predict form": (predict_form, 2),
    "predict json": (predict_json, 2),
    f"predict-batch of {BATCH}": (predict_batch, 3),
    "metadata": (metadata, 1),
}
OFFERED: dict[str, float] = {}  # what `Arrivals` sent, and how late it was with it


class Caller(FastHttpUser):
    """Somebody who asks again as soon as there is an answer."""

    connection_timeout, network_timeout = 10.0, 60.0
    tasks: ClassVar = dict(SCENARIOS.values())


class Arrivals(FastHttpUser):
    """Everybody: one greenlet a request, so that no answer holds up the next question."""

    connection_timeout, network_timeout = 10.0, 60.0
    fixed_count = 1
    concurrency = 1000  # connections; a request that has to wait for one counts from when it was due to be sent

    def on_start(self) -> None:
        self._asking = Group()
        self._sent = 0
        self._began = time.monotonic()

    @task
    def offer(self) -> None:
        rate = self.environment.parsed_options.rate
        due = int((time.monotonic() - self._began) * rate) - self._sent
        behind_ms = 1000 * max(0.0, time.monotonic() - self._began - (self._sent + 1) / rate) if due else 0.0
        for scenario in random.choices([s for s, _ in SCENARIOS.values()], [w for _, w in SCENARIOS.values()], k=due):
            self._asking.spawn(self._ask, scenario)
        self._sent += due
        OFFERED["offered"] = self._sent
        OFFERED["offered_per_s"] = round(self._sent / (time.monotonic() - self._began), 1)
        OFFERED["generator_behind_ms"] = round(max(OFFERED.get("generator_behind_ms", 0.0), behind_ms), 1)
        gevent.sleep(STEP_S)

    def on_stop(self) -> None:
        self._asking.join(timeout=self.network_timeout)

    def _ask(self, scenario: Callable[[FastHttpUser], None]) -> None:
        try:
            scenario(self)
        except Exception as error:  # as Locust does it for tasks of its own; `judge` counts them
            self.environment.events.user_error.fire(user_instance=self, exception=error, tb=error.__traceback__)


def _predict(user: FastHttpUser, picture: Picture, how: str, body: bytes, kind: str) -> None:
    model = random.choice(MODELS)
    with _post(user, model, "predict", f"predict {how}", body, kind) as answer:
        if answer.status_code == 200:
            fault = _fault(json.loads(answer.text)["predictions"], model, picture)
            answer.failure(fault) if fault else answer.success()


def _post(user: FastHttpUser, model: Model, path: str, what: str, body: bytes, kind: str) -> Any:
    """POST to a model; any status but 200 is a failure already."""
    return user.client.post(
        f"/v1/models/{model.name}/{path}",
        data=body,
        headers={"Content-Type": kind},
        name=f"{model.name} {what}",
        catch_response=True,
    )


def _check_batch(answer: Any, model: Model, chosen: Sequence[Picture], refused: int) -> None:
    results = json.loads(answer.text)["results"]
    if len(results) != len(chosen):
        answer.failure(f"{len(chosen)} pictures, {len(results)} results")
        return
    for index, (result, picture) in enumerate(zip(results, chosen, strict=True)):
        if index == refused:
            fault = None if "error" in result else "a broken picture was classified"
        else:
            fault = _fault(result.get("predictions", []), model, picture)
        if fault:
            answer.failure(fault)
            return
    answer.success()


def _fault(predictions: list[dict[str, Any]], model: Model, picture: Picture) -> str | None:
    off_by = offline.difference(offline.by_label(predictions), model.expected[picture.path])
    return None if off_by <= model.tolerance else f"off by {off_by:.4f} from the offline answer"


def _seen(entry: Any) -> Seen:
    scenario = entry.name.partition(" ")[2]  # after the model's name, which has no spaces
    return Seen(scenario, entry.name, entry.num_requests, entry.num_failures, entry.get_response_time_percentile)


def _get(url: str) -> Any:
    with urlopen(url, timeout=10) as answer:  # noqa: S310 (the host is the operator's own)
        return json.load(answer)


def _drawn(folder: Path) -> dict[str, list[Picture]]:
    sized = {name: pictures.jpegs(folder / name, size, count) for name, (size, count) in SIZES.items()}
    return sized | {"mixed": pictures.make(folder)}


def _learned(about: dict[str, Any]) -> Model:
    every = [picture for group in PICTURES.values() for picture in group]
    return Model(about["model"], offline.TOLERANCE[about["precision"]], offline.answers(about, every))


def _form(field: str, bodies: Sequence[bytes]) -> tuple[bytes, str]:
    """A multipart body with these files, and its Content-Type."""
    boundary = "an-unlikely-line-in-a-picture"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="picture"\r\n\r\n'.encode()
    parts = [head + body + b"\r\n" for body in bodies]
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
