"""Callers who send pictures as fast as they are answered, and check every answer against the command line's.

Traffic: a fixed number of users, each sending the next request when the last is answered. That finds the capacity of a
server; latency under a given arrival rate is another test. Single pictures travel raw, as a form and as base64; one
batch in two holds a broken picture, which must be refused in its place.

Run:  python load_tests/run.py        (starts a server, see there)
      locust -f load_tests/locustfile.py --host http://localhost:3000
"""

# mypy: disable-error-code="misc,untyped-decorator"
# (Locust's classes and decorators count as untyped here.)

from __future__ import annotations

import base64
import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

from locust import FastHttpUser, events, task
from locust.env import Environment

from load_tests import offline, pictures
from load_tests.pictures import Picture

BATCH_SIZES = (2, 4, 8)


class Model(NamedTuple):
    """A served model, with what it has to answer to each picture."""

    name: str
    tolerance: float
    expected: dict[Path, dict[str, float]]


PICTURES: list[Picture] = []
MODELS: list[Model] = []


@events.init.add_listener
def learn_the_right_answers(environment: Environment, **_: Any) -> None:
    """Before the clock starts: make the pictures, ask the server what it serves and the command line what is right."""
    with tempfile.TemporaryDirectory(prefix="load-test-") as folder:
        PICTURES[:] = pictures.make(Path(folder))
        try:
            names = [entry["model"] for entry in _get(f"{environment.host}/v1/models")["models"]]
            MODELS[:] = [_learned(_get(f"{environment.host}/v1/models/{name}")) for name in names]
        except (OSError, ValueError, RuntimeError) as error:
            raise SystemExit(f"no right answers to compare with: {error}") from error


@events.quitting.add_listener
def judge(environment: Environment, **_: Any) -> None:
    """A run without answers has shown nothing, and one whose own code failed has not looked at all of them."""
    total = environment.stats.total
    faults = total.num_failures or environment.runner.exceptions or not total.num_requests
    environment.process_exit_code = 1 if faults else 0


class Caller(FastHttpUser):
    """Somebody with pictures."""

    connection_timeout, network_timeout = 10.0, 60.0

    @task(6)
    def predict_raw(self) -> None:
        picture = random.choice(PICTURES)
        self._predict(picture, "raw", picture.body, picture.media_type)

    @task(1)
    def predict_form(self) -> None:
        picture = random.choice(PICTURES)
        self._predict(picture, "form", *_form("image", [picture.body]))

    @task(1)
    def predict_json(self) -> None:
        picture = random.choice(PICTURES)
        body = json.dumps({"image": base64.b64encode(picture.body).decode()}).encode()
        self._predict(picture, "json", body, "application/json")

    @task(2)
    def predict_batch(self) -> None:
        model = random.choice(MODELS)
        chosen = random.sample(PICTURES, random.choice(BATCH_SIZES))
        bodies = [picture.body for picture in chosen]
        refused = random.randrange(len(chosen) * 2)  # in every second batch beyond its end: nothing is broken there
        if refused < len(chosen):
            bodies[refused] = pictures.broken(chosen[refused])
        body, kind = _form("images", bodies)
        with self._post(model, "predict-batch", f"predict-batch of {len(chosen)}", body, kind) as answer:
            if answer.status_code == 200:
                _check_batch(answer, model, chosen, refused)

    def _predict(self, picture: Picture, how: str, body: bytes, kind: str) -> None:
        model = random.choice(MODELS)
        with self._post(model, "predict", f"predict {how}", body, kind) as answer:
            if answer.status_code == 200:
                fault = _fault(json.loads(answer.text)["predictions"], model, picture)
                answer.failure(fault) if fault else answer.success()

    def _post(self, model: Model, path: str, what: str, body: bytes, kind: str) -> Any:
        """POST to a model; any status but 200 is a failure already."""
        return self.client.post(
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
    for place, (result, picture) in enumerate(zip(results, chosen, strict=True)):
        if place == refused:
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


def _get(url: str) -> Any:
    with urlopen(url, timeout=10) as answer:  # noqa: S310 (the host is the operator's own)
        return json.load(answer)


def _learned(about: dict[str, Any]) -> Model:
    return Model(about["model"], offline.TOLERANCE[about["precision"]], offline.answers(about, PICTURES))


def _form(field: str, bodies: Sequence[bytes]) -> tuple[bytes, str]:
    """A multipart body with these files, and its Content-Type."""
    boundary = "an-unlikely-line-in-a-picture"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="picture"\r\n\r\n'.encode()
    parts = [head + body + b"\r\n" for body in bodies]
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
