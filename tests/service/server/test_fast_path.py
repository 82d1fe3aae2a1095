from __future__ import annotations

import asyncio
import dataclasses
import logging
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np
import orjson
import pytest
from starlette.applications import Starlette
from uvicorn.server import ServerState

from classifier.engines import Answers
from classifier.images import OpenedImage
from classifier.loaded_model import LoadedModel
from service.api.hot_routes import HotRoutes
from service.api.middleware import RequestMiddleware
from service.api.routes import HOT
from service.api.traffic import Traffic
from service.errors import BrokenForward, QueueFull
from service.inference.catalog import Catalog
from service.server.fast_path import FastPathProtocol, asked_by
from service.settings import Settings
from tests.service.api.test_middleware import traffic_of
from tests.service.api.test_routes import PREDICT
from tests.service.engines import HeldEngine
from tests.service.pictures import TEXT, jpeg, of_one_colour, truncated
from tests.service.server.contexts import connected, context_of
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.anyio


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any


CALLERS: list[Caller] = []


@pytest.fixture(autouse=True)
def nobody_stays() -> Iterator[None]:
    """Timers of open connections would keep them alive into other tests."""
    yield
    while CALLERS:
        CALLERS.pop().connection.connection_lost(None)


class Caller:
    """A caller of a server with a fast path. `asked` are the paths that the app was asked for."""

    def __init__(self, app: Starlette, catalog: Catalog, traffic: Traffic) -> None:
        self.asked: list[str] = []
        self.traffic = traffic
        routed = self._noted(HotRoutes(app, HOT, app))
        context = context_of(traffic, catalog, lambda _: RequestMiddleware(routed, traffic))
        state = ServerState()
        state.default_headers = [(b"date", b"Sun, 22 Nov 2026 05:00:00 GMT")]
        self.connection, self.wire = connected(context, app, FastPathProtocol, state)
        CALLERS.append(self)

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.connection.data_received(part)

    async def answers(self, count: int = 1) -> list[Answer]:
        async with asyncio.timeout(10):
            while len(found := parsed(self.wire.written)) < count:  # noqa: ASYNC110 (a wire has no events)
                await asyncio.sleep(0.001)
        assert len(found) == count
        return found

    async def answer(self, *parts: bytes) -> Answer:
        self.send(*parts)
        (only,) = await self.answers()
        return only

    def _noted(self, app: Any) -> Any:
        async def noted(scope: Any, receive: Any, send: Any) -> None:
            self.asked.append(scope["path"])
            await app(scope, receive, send)

        return noted


def parsed(written: bytes) -> list[Answer]:
    """The whole answers among what was written."""
    found = []
    while written:
        head, split, rest = written.partition(b"\r\n\r\n")
        if not split:
            break
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        length = int(headers["content-length"])
        if len(rest) < length:
            break
        found.append(Answer(int(first.split()[1]), headers, orjson.loads(rest[:length])))
        written = rest[length:]
    return found


def post(path: str = PREDICT, body: bytes = jpeg(), version: str = "1.1", **headers: str) -> bytes:
    shown = {"Host": "localhost:3000", "Content-Type": "image/jpeg", "Content-Length": str(len(body))}
    shown |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in shown.items() if value)
    return f"POST {path} HTTP/{version}\r\n{lines}\r\n".encode() + body


@pytest.fixture
def traffic(app: Starlette, settings: Settings) -> Traffic:
    return traffic_of(settings, app)


@pytest.fixture
async def caller(app: Starlette, catalog: Catalog, traffic: Traffic) -> Caller:
    return Caller(app, catalog, traffic)


@pytest.fixture
async def held(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> HeldEngine:
    """The engine of the colour model, which answers when a test says so."""
    engine = HeldEngine()
    monkeypatch.setattr(catalog.find(COLOUR).model, "engine", engine)
    return engine


TEMPLATE = "/v1/models/{model}/predict"


def counted(catalog: Catalog, status: int) -> float:
    """How many answers with a status were counted under the route's template."""
    labels = {"endpoint": TEMPLATE, "service_name": "sightline", "http_response_code": str(status)}
    return catalog.metrics.registry.get_sample_value("bentoml_service_request_total", labels) or 0.0


WAYS = [PREDICT, f"{PREDICT}?top_k=2", f"/v1/models/{COLOUR}/versions/1/predict", f"{PREDICT}?top_k=1"]


@pytest.mark.parametrize("path", WAYS)
async def test_the_answer_is_that_of_the_app(app: Starlette, catalog: Catalog, traffic: Traffic, path: str) -> None:
    def but_for_times(answer: Answer) -> Answer:
        timing = re.sub(r"[0-9.]+", "0", answer.headers["server-timing"])
        return answer._replace(headers=answer.headers | {"server-timing": timing})

    fast, slow = Caller(app, catalog, traffic), Caller(app, catalog, traffic)
    first = await fast.answer(post(path, x_request_id="abc"))
    second = await slow.answer(post(path, x_request_id="abc", x_request_timeout_ms="9000"))
    assert (fast.asked, slow.asked) == ([], [path.partition("?")[0]])
    assert but_for_times(first) == but_for_times(second)
    assert first.status == 200


async def test_the_probabilities_are_those_of_the_network(caller: Caller, offline: LoadedModel) -> None:
    answer = await caller.answer(post())
    expected = {label: pytest.approx(probability, abs=1e-5) for label, probability in offline.predict(jpeg())}
    assert {one["label"]: one["probability"] for one in answer.body["predictions"]} == expected


async def test_a_connection_is_used_again_and_again(caller: Caller) -> None:
    for count in range(1, 5):
        caller.send(post(body=jpeg(seed=count)))
        assert [answer.status for answer in await caller.answers(count)] == [200] * count
    assert not caller.asked
    assert not caller.wire.closed.is_set()


@pytest.mark.parametrize("kind", ["", "image/png", "application/octet-stream", "IMAGE/JPEG; q=1"])
async def test_every_way_to_say_that_a_body_is_an_image_is_plain(caller: Caller, kind: str) -> None:
    assert (await caller.answer(post(Content_Type=kind))).status == 200
    assert not caller.asked


UNUSUAL = {
    "another route": (post(f"/v1/models/{COLOUR}/explain"), 200),
    "another route of an unknown model": (post("/v1/models/colour/explain"), 404),
    "an unknown model": (post("/v1/models/unknown/predict"), 404),
    "an unknown version": (post(f"/v1/models/{COLOUR}/versions/99/predict"), 404),
    "top_k out of range": (post(f"{PREDICT}?top_k=99"), 400),
    "an unknown parameter": (post(f"{PREDICT}?k=1"), 400),
    "an escaped path": (post(PREDICT.replace("predict", "%70redict")), 200),
    "JSON": (post(body=b"{}", Content_Type="application/json"), 400),
    "another media type": (post(Content_Type="text/plain"), 415),
    "a time limit": (post(x_request_timeout_ms="5000"), 200),
    "an impossible time limit": (post(x_request_timeout_ms="soon"), 400),
    "HTTP/1.0": (post(version="1.0"), 200),
    "no body": (post(body=b""), 415),
    "Expect": (post(Expect="200-maybe"), 200),
    "a connection that is to close": (post(Connection="close"), 200),
    "GET": (post().replace(b"POST", b"GET"), 405),
}


@pytest.mark.parametrize(("sent", "status"), UNUSUAL.values(), ids=UNUSUAL)
async def test_whatever_is_unusual_goes_to_the_app(caller: Caller, sent: bytes, status: int) -> None:
    answer = await caller.answer(sent)
    assert (caller.asked != [], answer.status) == (True, status)


async def test_a_chunked_body_goes_to_the_app(caller: Caller) -> None:
    body = jpeg()
    chunked = post(body=b"", Content_Length="", Transfer_Encoding="chunked") + b"%x\r\n%s\r\n0\r\n\r\n" % (
        len(body),
        body,
    )
    assert (await caller.answer(chunked)).status == 200
    assert caller.asked


@pytest.mark.parametrize("cut", [30, 150, -100], ids=["in the head", "early", "in the body"])
async def test_a_request_in_pieces_is_answered(caller: Caller, cut: int) -> None:
    sent = post()
    assert (await caller.answer(sent[:cut], sent[cut:])).status == 200


async def test_a_body_that_does_not_come_is_watched_by_the_middleware(app: Starlette, catalog: Catalog) -> None:
    slow = Settings(**{**vars(catalog.settings), "upload_stall_ms": 20})
    caller = Caller(app, catalog, traffic_of(slow, app))
    answer = await caller.answer(post()[:-100])
    assert (answer.status, answer.body["code"]) == (408, "upload-too-slow")


@pytest.mark.parametrize(
    "body", [of_one_colour(300, 200), jpeg(400, 300)], ids=["few bytes, many pixels", "many of both"]
)
async def test_what_is_too_much_for_the_loop_is_decoded_in_a_thread(
    caller: Caller, offline: LoadedModel, body: bytes
) -> None:
    answer = await caller.answer(post(body=body))
    assert answer.body["predictions"][0]["label"] == offline.predict(body)[0].label
    assert not caller.asked


async def test_who_hangs_up_while_a_thread_decodes_is_not_computed(caller: Caller, held: HeldEngine) -> None:
    caller.send(post(body=jpeg(400, 300)))
    caller.connection.connection_lost(None)
    await asyncio.sleep(0.1)
    assert held.batches.empty()
    assert not caller.traffic.tasks


async def test_a_body_larger_than_is_read_goes_to_the_app(app: Starlette, catalog: Catalog) -> None:
    strict = Settings(**{**vars(catalog.settings), "max_body_bytes": 500})
    caller = Caller(app, catalog, traffic_of(strict, app))
    await caller.answer(post(body=jpeg(400, 300)))
    assert caller.asked


async def test_when_no_more_bytes_may_be_held_the_middleware_says_so(caller: Caller) -> None:
    caller.traffic.held_bytes = caller.traffic.settings.max_held_bytes
    answer = await caller.answer(post())
    caller.traffic.held_bytes = 0
    assert (answer.status, answer.body["code"]) == (429, "too-many-bytes")


async def test_what_is_no_image_is_refused_as_everywhere(caller: Caller, catalog: Catalog) -> None:
    failed = catalog.find(COLOUR).statistics.fail.count
    answer = await caller.answer(post(body=TEXT, x_request_id="mine"))
    assert (answer.status, answer.body["code"]) == (415, "not-an-image")
    assert answer.headers["x-request-id"] == "mine"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not caller.asked
    assert catalog.find(COLOUR).statistics.fail.count == failed + 1


async def test_after_an_error_the_connection_goes_on(caller: Caller) -> None:
    caller.send(post(body=TEXT))
    await caller.answers(1)
    caller.send(post())
    assert [answer.status for answer in await caller.answers(2)] == [415, 200]


async def test_requests_sent_ahead_are_answered_in_their_order(caller: Caller) -> None:
    caller.send(post(x_request_id="1") + post(body=TEXT, x_request_id="2") + post(x_request_id="3"))
    answers = await caller.answers(3)
    assert [(answer.headers["x-request-id"], answer.status) for answer in answers] == [
        ("1", 200),
        ("2", 415),
        ("3", 200),
    ]


async def test_what_is_sent_ahead_waits_also_behind_an_error(caller: Caller, held: HeldEngine) -> None:
    caller.send(post(x_request_id="1"), post(body=TEXT, x_request_id="2"))
    await asyncio.sleep(0.01)
    assert not caller.wire.written
    await held.give(*[np.nan] * 3)
    answers = await caller.answers(2)
    assert [(answer.headers["x-request-id"], answer.status) for answer in answers] == [("1", 500), ("2", 415)]


@pytest.mark.parametrize("body", [jpeg(), jpeg(400, 300)], ids=["small", "for a thread"])
async def test_a_full_queue_is_429_without_the_app_and_soon_not_even_asked(
    app: Starlette, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    def full(_: bytes, deadline: float) -> Any:
        raise QueueFull("no room", retry_after_s=3)

    caplog.set_level(logging.INFO, "service")
    monkeypatch.setattr(catalog.find(COLOUR), "classify_soon", full)
    caller = Caller(app, catalog, traffic_of(catalog.settings, app, shed_for_s=60))
    caller.send(post(body=body, x_request_id="mine"))
    (answer,) = parsed(caller.wire.written)  # at once, so nothing was asked that would take a turn of the loop
    assert (answer.status, answer.body["code"], answer.headers["retry-after"]) == (429, "queue-full", "3")
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.headers["x-request-id"], answer.headers["x-content-type-options"]) == ("mine", "nosniff")
    caller.send(post(body=body, x_request_id="mine-2"))
    second = (await caller.answers(2))[1]
    assert (second.body["code"], second.headers["x-request-id"]) == ("overloaded", "mine-2")
    first_line, second_line = (record.getMessage() for record in caplog.records)
    assert first_line.startswith("rejected 429 queue-full: POST")
    assert second_line == f"rejected 429 overloaded: POST {PREDICT!r} from unknown, request mine-2"


async def test_no_more_images_are_taken_in_a_turn_of_the_loop_than_may_wait(settings: Settings) -> None:
    strict = Catalog(dataclasses.replace(settings, queue_limit=2, max_batch=1, max_images=2))
    await strict.load()
    classifier, soon = strict.find(COLOUR), asyncio.get_running_loop().time() + 5
    for _ in range(2):  # who has left makes room
        taken = [classifier.classify_soon(jpeg(400, 300), soon) for _ in range(2)]
        with pytest.raises(QueueFull):
            classifier.classify_soon(jpeg(400, 300), soon)
        for row in taken:
            row.cancel()
        await asyncio.gather(*taken, return_exceptions=True)
        await asyncio.sleep(0)
    await strict.close()


async def test_a_deadline_that_passes_in_the_queue_is_504(app: Starlette, catalog: Catalog, held: HeldEngine) -> None:
    hasty = Settings(**{**vars(catalog.settings), "request_timeout_ms": 30.0})
    caller = Caller(app, catalog, traffic_of(hasty, app))
    answer = await caller.answer(post())
    assert (answer.status, answer.body["code"]) == (504, "deadline-passed")
    assert not caller.traffic.tasks
    assert caller.traffic.held_bytes == 0
    await held.give(0.2, 0.3, 0.5)


async def test_who_hangs_up_is_not_computed(caller: Caller, app: Starlette, catalog: Catalog, held: HeldEngine) -> None:
    other = Caller(app, catalog, caller.traffic)
    other.send(post())
    _, running = await held.batches.get()  # so that the next one waits
    caller.send(post())
    await asyncio.sleep(0)
    gone = counted(catalog, 499)
    caller.connection.connection_lost(None)
    running.set_result(Answers(np.array([[0.2, 0.3, 0.5]], np.float32)))
    assert [answer.status for answer in await other.answers()] == [200]
    await asyncio.sleep(0.02)
    assert held.batches.empty()
    assert caller.wire.written == b""
    assert not caller.traffic.tasks
    assert counted(catalog, 499) == gone + 1


async def test_who_is_cut_off_at_the_end_gets_a_503(caller: Caller, held: HeldEngine) -> None:
    caller.send(post())
    await asyncio.sleep(0.01)
    caller.traffic.close()
    assert len(caller.traffic.tasks) == 1
    caller.traffic.cut_off()
    (answer,) = await caller.answers()
    assert (answer.status, answer.body["code"], answer.headers["connection"]) == (503, "closing", "close")
    await held.give(0.2, 0.3, 0.5)


async def test_what_was_accepted_before_the_end_is_answered_and_the_connection_closed(
    caller: Caller, held: HeldEngine
) -> None:
    caller.send(post())
    await asyncio.sleep(0.01)
    caller.traffic.close()
    await held.give(0.2, 0.3, 0.5)
    (answer,) = await caller.answers()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert caller.wire.closed.is_set()


async def test_while_draining_the_fast_path_goes_on_and_asks_callers_to_leave(caller: Caller) -> None:
    caller.traffic.drain()
    answer = await caller.answer(post())
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert caller.wire.closed.is_set()
    assert not caller.asked


@pytest.mark.parametrize(("body", "status"), [(jpeg(), 200), (TEXT, 415)], ids=["answered", "refused"])
async def test_a_trace_of_the_callers_comes_back_from_the_fast_path(caller: Caller, body: bytes, status: int) -> None:
    given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = await caller.answer(post(body=body, traceparent=given))
    assert (answer.status, answer.headers["traceparent"]) == (status, given)
    assert not caller.asked


async def test_nobody_gets_past_the_keys(app: Starlette, catalog: Catalog) -> None:
    guarded = Settings(**{**vars(catalog.settings), "api_keys": ("a-key-of-this-year",)})
    refused, let_in = (Caller(app, catalog, traffic_of(guarded, app, "10.0.0.1")) for _ in range(2))
    assert (await refused.answer(post())).status == 401
    assert (await let_in.answer(post(Authorization="Bearer a-key-of-this-year"))).status == 200
    assert not let_in.asked


@pytest.mark.parametrize("host", ["evil.example", "evil.example:3000", "127.0.0.1.evil.example", "localhost.evil:3000"])
async def test_nobody_gets_past_the_allowed_hosts(caller: Caller, host: str) -> None:
    answer = await caller.answer(post(Host=host))
    assert (answer.status, answer.body["code"]) == (421, "host-not-allowed")


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8080", "127.0.0.1:3001", "[::1]:3000", "[::1]"])
async def test_on_loopback_its_names_and_addresses_are_answered_with_any_port(caller: Caller, host: str) -> None:
    assert (await caller.answer(post(Host=host))).status == 200
    assert not caller.asked


async def test_a_failure_of_ours_is_500_and_reveals_nothing(caller: Caller, monkeypatch: Any) -> None:
    monkeypatch.setattr(OpenedImage, "decode", lambda _: 1 / 0)
    answer = await caller.answer(post())
    assert (answer.status, answer.body["code"]) == (500, "internal")
    assert "division" not in orjson.dumps(answer.body).decode()


async def test_it_is_counted_as_everywhere(caller: Caller, catalog: Catalog) -> None:
    answered, classified = counted(catalog, 200), catalog.find(COLOUR).statistics.success.count
    await caller.answer(post())
    assert counted(catalog, 200) == answered + 1
    assert catalog.find(COLOUR).statistics.success.count == classified + 1


async def test_with_the_access_log_on_every_request_goes_to_the_app(app: Starlette, catalog: Catalog) -> None:
    caller = Caller(app, catalog, traffic_of(Settings(**{**vars(catalog.settings), "access_log": True}), app))
    assert (await caller.answer(post())).status == 200
    assert caller.asked


class FailingEngine(HeldEngine):
    """An engine whose batches end at once: with an error, or with rows that are no numbers."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self._error = error

    def submit(self, pixels_u8: Any, *, alone: bool = False) -> Future[Any]:
        future: Future[Any] = Future()
        if self._error:
            future.set_exception(self._error)
        else:
            future.set_result(Answers(np.full((len(pixels_u8), 3), np.nan, np.float32)))
        return future


class Failing:
    """A server in which something is about to go wrong."""

    def __init__(self, catalog: Catalog, traffic: Traffic, patch: pytest.MonkeyPatch) -> None:
        self.traffic = traffic
        self.patch = patch
        self.classifier = catalog.find(COLOUR)

    def nowhere(self) -> None: ...

    def in_the_queue(self) -> None:
        def refuse(*_: object) -> Any:
            raise QueueFull("no room", retry_after_s=3)

        async def refuse_in_a_task(*_: object) -> Any:
            refuse()

        self.patch.setattr(self.classifier, "classify_soon", refuse)
        self.patch.setattr(self.classifier, "classify", refuse_in_a_task)

    def in_the_network(self) -> None:
        self.patch.setattr(self.classifier.model, "engine", FailingEngine(BrokenForward("no network")))

    def in_the_rows(self) -> None:
        self.patch.setattr(self.classifier.model, "engine", FailingEngine())

    def in_the_decoder(self) -> None:
        self.patch.setattr(OpenedImage, "decode", lambda _: 1 / 0)

    def in_time(self) -> HeldEngine:
        self.patch.setattr(self.classifier.model, "engine", engine := HeldEngine())
        return engine

    def in_time_while_closing(self) -> HeldEngine:
        asyncio.get_running_loop().call_later(0.02, self.traffic.close)
        return self.in_time()

    def at_the_end(self) -> HeldEngine:
        asyncio.get_running_loop().call_later(0.03, self.traffic.cut_off)
        return self.in_time_while_closing()


FAILURES = {
    "no image": (Failing.nowhere, TEXT, 415),
    "a damaged thumbnail": (Failing.nowhere, truncated(jpeg()), 422),
    "a damaged photo": (Failing.nowhere, truncated(jpeg(400, 300)), 422),
    "a full queue": (Failing.in_the_queue, jpeg(), 429),
    "a broken network": (Failing.in_the_network, jpeg(), 500),
    "no numbers": (Failing.in_the_rows, jpeg(), 500),
    "a mistake of ours": (Failing.in_the_decoder, jpeg(), 500),
    "a mistake of ours in a thread": (Failing.in_the_decoder, jpeg(400, 300), 500),
    "a deadline": (Failing.in_time, jpeg(), 504),
    "a deadline while closing": (Failing.in_time_while_closing, jpeg(), 504),
    "the end of the server": (Failing.at_the_end, jpeg(), 503),
}


@pytest.mark.parametrize(("fail", "body", "status"), FAILURES.values(), ids=FAILURES)
async def test_an_error_is_written_byte_for_byte_as_the_app_writes_it(
    app: Starlette, catalog: Catalog, fail: Callable[[Failing], HeldEngine | None], body: bytes, status: int
) -> None:
    async def written(asked: list[str], **headers: str) -> bytes:
        traffic = traffic_of(dataclasses.replace(catalog.settings, request_timeout_ms=100.0), app)
        caller = Caller(app, catalog, traffic)
        with pytest.MonkeyPatch.context() as patch:
            held = fail(Failing(catalog, traffic, patch))
            answer = await caller.answer(post(body=body, x_request_id="mine", **headers))
            if held:
                await held.give(*[0.0] * 3)
        assert (answer.status, caller.asked) == (status, asked)
        assert caller.wire.closed.is_set() == (answer.headers.get("connection") == "close")
        assert (traffic.tasks, traffic.held_bytes) == (set(), 0)
        return caller.wire.written

    on_the_fast_path = await written([])
    assert on_the_fast_path == await written([PREDICT], x_request_timeout_ms="100")


@pytest.mark.parametrize(
    "url",
    [b"/", b"/v1/models/a/predict?top_k=0", b"/v1/models/a/versions/01/predict", b"/v1/models/../predict", b"\xff"],
)
def test_a_url_that_is_not_plain_asks_for_nothing(url: bytes) -> None:
    assert asked_by(url) is None


async def test_the_heads_timer_ends_with_the_head_however_long_the_body_takes(
    app: Starlette, catalog: Catalog, held: HeldEngine
) -> None:
    hasty = Settings(**{**vars(catalog.settings), "header_timeout_ms": 20.0})
    for cut in (-len(jpeg()), -100):  # after the head, and within the body
        caller, sent = Caller(app, catalog, traffic_of(hasty, app)), post()
        caller.send(sent[:cut])
        for at in range(cut, -2, 50):
            await asyncio.sleep(0.005)
            caller.send(sent[at : at + 50] if at < -50 else sent[at:])
        await asyncio.sleep(0.05)
        assert not caller.wire.closed.is_set()
        await held.give(0.2, 0.3, 0.5)
        assert [answer.status for answer in await caller.answers()] == [200]
