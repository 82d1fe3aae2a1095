"""The Python client against a server that is a function; what holds for `Client` holds for `AsyncClient`."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.client import (
    AsyncClient,
    Client,
    ClientError,
    ConnectionFailed,
    ConnectionLost,
    DeadlinePassed,
    Explanation,
    ModelNotServed,
    Prediction,
    Predictions,
    QueueFull,
    TimedOut,
    Unavailable,
    UnexpectedAnswer,
    UnknownModel,
    UnreadableFile,
)
from tests.service.client.doubles import URL, Clock, Make

ANSWER = {"model": "pets", "version": 2, "predictions": [{"label": "cat", "probability": 0.75}]}


class Server:
    """Gives its replies, one after another, the last one for ever; remembers what it was asked."""

    def __init__(self, *replies: httpx.Response | Exception) -> None:
        self.replies = list(replies) or [answer()]
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, httpx.Response):
            return httpx.Response(reply.status_code, headers=reply.headers, content=reply.content)
        raise reply


def answer(**changes: Any) -> httpx.Response:
    return httpx.Response(200, json=ANSWER | changes)


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    content = {"type": "about:blank", "title": "No", "status": status, "detail": f"because {code}", "code": code}
    kind = {"content-type": "application/problem+json"}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=kind | names, content=json.dumps(content))


def test_an_image_travels_as_the_raw_body_and_the_answer_is_typed(client_of: Make) -> None:
    server = Server()
    assert client_of(server).predict("pets", b"jpeg") == Predictions("pets", 2, (Prediction("cat", 0.75),))
    (request,) = server.requests
    assert (request.method, str(request.url)) == ("POST", f"{URL}/v1/models/pets/predict")
    assert (request.content, request.headers["content-type"]) == (b"jpeg", "application/octet-stream")
    assert "authorization" not in request.headers


def test_whether_the_image_is_familiar_is_typed_and_none_of_versions_that_do_not_say(client_of: Make) -> None:
    known = client_of(Server(answer(familiar=False, familiarity=0.03))).predict("pets", b"jpeg")
    assert (known.familiar, known.familiarity) == (False, 0.03)
    unknown = client_of(Server()).predict("pets", b"jpeg")
    assert (unknown.familiar, unknown.familiarity) == (None, None)


def test_top_is_the_most_probable_label(client_of: Make) -> None:
    top = client_of(Server()).predict("pets", b"jpeg").top
    assert (top.label, top.probability) == ("cat", 0.75)


def test_version_top_k_and_key_reach_the_server(client_of: Make) -> None:
    server = Server()
    client_of(server, api_key="secret").predict("pets", b"jpeg", version=1, top_k=3)
    assert str(server.requests[0].url) == f"{URL}/v1/models/pets/versions/1/predict?top_k=3"
    assert server.requests[0].headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize("base_url", ["http://sightline:3000/", "http://sightline:3000/vision", "https://sightline"])
def test_a_server_may_live_below_a_path(client_of: Make, base_url: str) -> None:
    server = Server()
    client_of(server, base_url=base_url).predict("a/b?c", b"jpeg")
    assert str(server.requests[0].url) == f"{base_url.rstrip('/')}/v1/models/a%2Fb%3Fc/predict"


@pytest.mark.parametrize("base_url", ["localhost:3000", "ftp://sightline", "http://", "", "http://x:port"])
def test_what_is_no_address_of_a_server_is_refused_at_once(client_of: Make, base_url: str) -> None:
    with pytest.raises(ValueError, match="address of a server"):
        client_of(Server(), base_url=base_url)


@pytest.mark.parametrize("api_key", ["", "secret\n", "s\u00e9cret"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(client_of: Make, api_key: str) -> None:
    with pytest.raises(ValueError, match="API key") as refused:
        client_of(Server(), api_key=api_key)
    assert "cret" not in str(refused.value)


@pytest.mark.parametrize(
    "limits", [{"timeout_s": 0}, {"timeout_s": float("nan")}, {"retries": -1}, {"max_connections": 0}], ids=str
)
def test_limits_that_nothing_can_keep_are_refused_at_once(client_of: Make, limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected timeout_s above 0"):
        client_of(Server(), **limits)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [(429, "queue-full", QueueFull), (503, "not-ready", Unavailable), (503, "closing", Unavailable)],
)
def test_a_server_that_says_later_is_asked_again_no_sooner_than_it_says(
    client_of: Make, clock: Clock, status: int, code: str, kind: type[ClientError]
) -> None:
    server = Server(problem(status, code, retry_after="2"), answer())
    assert client_of(server).predict("pets", b"jpeg").top.label == "cat"
    assert [request.content for request in server.requests] == [b"jpeg", b"jpeg"]
    assert len(clock.slept_s) == 1
    assert 2 <= clock.slept_s[0] <= 2.5
    with pytest.raises(kind, match=code):
        client_of(Server(problem(status, code, retry_after="2")), retries=0).predict("pets", b"jpeg")


def test_without_retry_after_the_waits_double_up_to_a_limit(client_of: Make, clock: Clock) -> None:
    server = Server(problem(429, "queue-full"))
    with pytest.raises(QueueFull):
        client_of(server, retries=9).predict("pets", b"jpeg")
    assert len(server.requests) == 10
    for waited_s, full_s in zip(clock.slept_s, [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5], strict=True):
        assert full_s / 2 <= waited_s <= full_s


def test_a_wait_that_would_outlast_the_timeout_is_not_begun(client_of: Make, clock: Clock) -> None:
    server = Server(problem(429, "queue-full", retry_after="3600"))
    with pytest.raises(QueueFull) as full:
        client_of(server, timeout_s=5).predict("pets", b"jpeg")
    assert clock.slept_s == []
    assert full.value.retry_after == "3600"


def test_all_tries_share_one_timeout(client_of: Make, clock: Clock) -> None:
    server = Server(problem(503, "not-ready", retry_after="1"))
    with pytest.raises(Unavailable):
        client_of(server, timeout_s=4, retries=100).predict("pets", b"jpeg")
    assert 3 <= len(server.requests) <= 4
    assert sum(clock.slept_s) < 4
    left_s = [request.extensions["timeout"]["read"] for request in server.requests]
    assert left_s == sorted(left_s, reverse=True)
    assert left_s[-1] < 2


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (problem(404, "unknown-model"), UnknownModel),
        (problem(503, "model-not-served"), ModelNotServed),
        (problem(504, "deadline-passed"), DeadlinePassed),
        (httpx.ReadTimeout("slow"), TimedOut),
        (httpx.Response(200, text="<h1>Welcome</h1>"), UnexpectedAnswer),
    ],
    ids=["unknown model", "broken model", "deadline", "own timeout", "not Sightline"],
)
def test_what_will_not_pass_is_not_retried(
    client_of: Make, clock: Clock, reply: httpx.Response | Exception, kind: type[ClientError]
) -> None:
    server = Server(reply)
    with pytest.raises(kind):
        client_of(server).predict("pets", b"jpeg")
    assert (len(server.requests), clock.slept_s) == (1, [])


def test_a_connection_that_was_closed_while_idle_is_replaced_at_once_even_without_retries(
    client_of: Make, clock: Clock
) -> None:
    server = Server(httpx.RemoteProtocolError("Server disconnected without sending a response."), answer())
    assert client_of(server, retries=0).predict("pets", b"jpeg").top.label == "cat"
    assert sum(clock.slept_s) == 0


def test_a_server_that_keeps_breaking_the_connection_is_given_up(client_of: Make, clock: Clock) -> None:
    server = Server(httpx.ReadError("Connection reset by peer"))
    with pytest.raises(ConnectionLost, match="http://sightline:3000 broke the connection: Connection reset by peer"):
        client_of(server, retries=2).predict("pets", b"jpeg")
    assert len(server.requests) == 4
    assert clock.slept_s[0] == 0
    assert all(clock.slept_s[1:])


def test_a_server_that_is_not_there_yet_is_waited_for(client_of: Make, clock: Clock) -> None:
    refused = httpx.ConnectError("[Errno 111] Connection refused")
    assert client_of(Server(refused, refused, answer())).predict("pets", b"jpeg").top.label == "cat"
    assert all(clock.slept_s)
    with pytest.raises(ConnectionFailed, match=r"http://sightline:3000 cannot be reached: .*refused"):
        client_of(Server(refused)).predict("pets", b"jpeg")


def test_a_server_that_is_started_anew_is_outlasted(client_of: Make, clock: Clock) -> None:
    def restarting(request: httpx.Request) -> httpx.Response:
        if clock() < 110:
            raise httpx.ConnectError("[Errno 111] Connection refused")
        if clock() < 118:
            return problem(503, "not-ready", retry_after="120")
        return answer()

    assert client_of(restarting).predict("pets", b"jpeg").top.label == "cat"
    assert 118 <= clock() < 130


def test_retries_end_with_their_time_however_long_an_answer_may_take(client_of: Make, clock: Clock) -> None:
    with pytest.raises(ConnectionFailed):
        client_of(Server(httpx.ConnectError("refused")), timeout_s=3600).predict("pets", b"jpeg")
    assert 20 < sum(clock.slept_s) < 30
    with pytest.raises(ConnectionFailed):
        client_of(Server(httpx.ConnectError("refused")), retry_s=0).predict("pets", b"jpeg")


def test_an_alias_stands_for_a_version(client_of: Make) -> None:
    server = Server()
    client = client_of(server)
    client.predict("pets", b"jpeg", alias="canary", top_k=1)
    client.predict("pets", b"jpeg", alias="a/b")
    assert [request.url.raw_path.decode() for request in server.requests] == [
        "/v1/models/pets/aliases/canary/predict?top_k=1",
        "/v1/models/pets/aliases/a%2Fb/predict",
    ]
    with pytest.raises(ValueError, match="a version or an alias"):
        client.predict("pets", b"jpeg", alias="canary", version=1)


def test_an_explanation_is_typed(client_of: Make) -> None:
    content = {"model": "pets", "version": 2, "label": "dog", "probability": 0.25, "heat": [[0, 0.5], [1, 0]]}
    server = Server(httpx.Response(200, json=content))
    said = client_of(server).explain("pets", b"jpeg", label="dog & co", alias="canary")
    assert said == Explanation("pets", 2, "dog", 0.25, ((0.0, 0.5), (1.0, 0.0)))
    (request,) = server.requests
    assert (request.method, request.content) == ("POST", b"jpeg")
    assert request.url.raw_path.decode() == "/v1/models/pets/aliases/canary/explain?label=dog%20%26%20co"


@pytest.mark.parametrize("heat", [[[2]], [["warm"]], [[None]], "hot", [3]], ids=str)
def test_an_explanation_of_another_form_is_none(client_of: Make, heat: Any) -> None:
    content = {"model": "pets", "version": 2, "label": "dog", "probability": 0.25, "heat": heat}
    with pytest.raises(UnexpectedAnswer):
        client_of(Server(httpx.Response(200, json=content))).explain("pets", b"jpeg")


def test_a_password_in_the_address_is_not_shown(client_of: Make) -> None:
    client = client_of(Server(httpx.ConnectError("refused")), base_url="http://me:secret@sightline")
    with pytest.raises(ConnectionFailed) as failed:
        client.predict("pets", b"jpeg")
    assert "secret" not in str(failed.value)


def test_models_are_listed_and_described(client_of: Make) -> None:
    listed = {"model": "pets", "version": 2, "versions": [1, 2], "ready": False, "reason": "still loading"}
    (model,) = client_of(Server(httpx.Response(200, json={"models": [listed], "ready": False}))).models()
    assert (model.name, model.version, model.versions, model.ready) == ("pets", 2, (1, 2), False)
    assert model.reason == "still loading"
    described = {"model": "pets", "version": 1, "versions": [1, 2], "ready": True, "labels": ["cat", "dog"]}
    server = Server(httpx.Response(200, json=described | {"engine": "openvino"}))
    about = client_of(server).model("pets", 1)
    assert server.requests[0].url.path == "/v1/models/pets/versions/1"
    assert (about.labels, about.reason, about.about["engine"]) == (("cat", "dog"), None, "openvino")


@pytest.mark.parametrize(
    ("reply", "ready"),
    [
        (httpx.Response(200), True),
        (httpx.Response(503, headers={"retry-after": "1"}), False),
        (httpx.ConnectError("refused"), False),
        (httpx.ReadTimeout("slow"), False),
    ],
    ids=["ready", "loading", "not there", "hanging"],
)
def test_ready_is_asked_once(client_of: Make, reply: httpx.Response | Exception, ready: bool) -> None:
    server = Server(reply)
    assert client_of(server).ready() is ready
    assert len(server.requests) == 1


def test_ready_does_not_guess_about_something_that_is_no_server_of_ours(client_of: Make) -> None:
    with pytest.raises(ClientError, match="404"):
        client_of(Server(httpx.Response(404))).ready()


def test_an_image_that_cannot_be_read_is_not_sent(client_of: Make, tmp_path: Path) -> None:
    server = Server()
    with pytest.raises(UnreadableFile, match=r"none\.jpg cannot be read \(No such file"):
        client_of(server).predict("pets", tmp_path / "none.jpg")
    assert server.requests == []


def test_a_closed_client_says_so() -> None:
    async def ask_closed() -> None:
        async with AsyncClient(URL) as client:
            pass
        await client.predict("pets", b"jpeg")

    with Client(URL) as client:
        pass
    for ask in (lambda: client.predict("pets", b"jpeg"), lambda: asyncio.run(ask_closed())):
        with pytest.raises(RuntimeError, match="the client is closed"):
            ask()


def test_importing_the_client_imports_no_framework() -> None:
    heavy = ("tensorflow", "keras", "bentoml", "openvino", "numpy", "PIL", "pydantic", "starlette", "classifier")
    script = f"import sys, service.client, service.client.__main__; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_sending_bytes_and_files_imports_neither_pillow_nor_numpy(tmp_path: Path) -> None:
    script = "import sys; from service.client.sources import encoded; encoded(b'x'); encoded(sys.argv[0] or __file__)"
    (tmp_path / "send.py").write_text(f"{script}; print({{'numpy', 'PIL'}} & set(sys.modules))")
    root = Path(__file__).parents[3]
    command = [sys.executable, str(tmp_path / "send.py")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={"PYTHONPATH": str(root)})
    assert done.stdout.strip() == "set()"
