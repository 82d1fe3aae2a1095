from __future__ import annotations

import asyncio
import base64
import dataclasses
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request

from service.api.auth import Access
from service.api.endpoints import Endpoints
from service.api.middleware import RequestMiddleware
from service.api.responses import error_response
from service.api.traffic import Traffic
from service.errors import MalformedRequest
from service.inference.catalog import Catalog
from service.settings import Settings
from tests.service.api.test_routes import PREDICT, check_problem
from tests.service.pictures import TEXT, jpeg
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.anyio


BOTH_WAYS = ['Bearer realm="sightline"', 'Basic realm="sightline"']


def traffic_of(settings: Settings, app: Starlette, address: str = "127.0.0.1", **shedding: float) -> Traffic:
    access = Access(settings, lambda: [address])
    return Traffic(settings, access, Endpoints(app.routes, []), app.state.catalog.metrics, **shedding)


def behind_middleware(traffic: Traffic, app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(RequestMiddleware(app, traffic)), base_url="http://localhost:3000"
    )


@pytest.fixture
def traffic(app: Starlette, settings: Settings) -> Traffic:
    return traffic_of(settings, app)


@pytest.fixture
async def guarded(app: Starlette, traffic: Traffic) -> AsyncIterator[httpx.AsyncClient]:
    async with behind_middleware(traffic, app) as client:
        yield client


async def test_a_request_id_of_the_callers_comes_back(guarded: httpx.AsyncClient) -> None:
    for answer in (
        await guarded.get("/v1/models", headers={"x-request-id": "abc-123"}),
        await guarded.post(PREDICT, content=TEXT, headers={"x-request-id": "abc-123"}),
    ):
        assert answer.headers["x-request-id"] == "abc-123"


@pytest.mark.parametrize("given", [None, "", "a b", "x" * 129, "é", "<script>", 'a"b'])
async def test_any_other_request_gets_an_id_of_its_own(guarded: httpx.AsyncClient, given: str | None) -> None:
    headers = {} if given is None else {"x-request-id": given.encode()}
    ids = {(await guarded.get("/v1/models", headers=headers)).headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2
    assert all(len(made) == 16 for made in ids)


async def test_every_answer_carries_security_headers_and_none_opens_it_to_other_origins(
    guarded: httpx.AsyncClient,
) -> None:
    for path in ("/", "/v1/models", "/v1/nothing", "/metrics"):
        headers = (await guarded.get(path, headers={"origin": "http://elsewhere.example"})).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "'none'" in headers["content-security-policy"]
        assert "unsafe-inline" not in headers["content-security-policy"]
        assert not [name for name in headers if name.startswith("access-control-")]


async def test_a_caller_without_a_key_is_refused_in_the_words_of_the_protocol(app: Starlette) -> None:
    traffic = traffic_of(Settings(api_keys=("a-key-of-this-year",)), app, "10.0.0.1")
    async with behind_middleware(traffic, app) as client:
        check_problem(refused := await client.post(PREDICT, content=jpeg()), 401, "unauthorized")
        assert refused.headers.get_list("www-authenticate") == BOTH_WAYS  # a line each, or Chromium asks for nothing
        on_v2 = await client.get("/v2")
        assert (set(on_v2.json()), on_v2.headers.get_list("www-authenticate")) == ({"error"}, BOTH_WAYS)
        wrong = await client.post(PREDICT, content=jpeg(), headers={"authorization": "Bearer another-key-altogether"})
        assert wrong.headers.get_list("www-authenticate") == ['Bearer realm="sightline", error="invalid_token"']
        shown = {"authorization": "Bearer a-key-of-this-year"}
        assert (await client.post(PREDICT, content=jpeg(), headers=shown)).status_code == 200


async def test_while_closing_new_work_is_503_and_questions_are_still_answered(
    guarded: httpx.AsyncClient, traffic: Traffic
) -> None:
    traffic.close()
    refused = await guarded.post(PREDICT, content=jpeg())
    check_problem(refused, 503, "closing")
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["connection"] == "close"
    assert (await guarded.get("/v1/models")).status_code == 200


async def test_while_draining_the_server_is_not_ready(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "is_draining", True)
    assert not catalog.is_ready
    with pytest.raises(Exception, match="shutting down"):
        catalog.check_ready()


async def test_who_is_cut_off_gets_a_503(traffic: Traffic) -> None:
    async def never(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    async with behind_middleware(traffic, never) as client:
        asking = asyncio.create_task(client.get("/v1/models"))
        while not traffic.tasks:  # noqa: ASYNC110
            await asyncio.sleep(0)
        traffic.cut_off()
        check_problem(await asking, 503, "closing")
    assert not traffic.tasks


async def test_a_cancellation_from_elsewhere_is_not_turned_into_an_answer(traffic: Traffic) -> None:
    async def never(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    async with behind_middleware(traffic, never) as client:
        asking = asyncio.create_task(client.get("/v1/models"))
        while not traffic.tasks:  # noqa: ASYNC110
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


class Upload:
    """A caller whose body comes as the test says, and what it is answered."""

    def __init__(
        self,
        traffic: Traffic,
        app: Any,
        length: int | None = None,
        path: str = PREDICT,
        content_type: bytes = b"application/octet-stream",
    ) -> None:
        self.parts: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        size = [(b"transfer-encoding", b"chunked")] if length is None else [(b"content-length", b"%d" % length)]
        kind = [(b"content-type", content_type)]
        scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": [*size, *kind]}
        self.task = asyncio.ensure_future(RequestMiddleware(app, traffic)(scope, self.parts.get, self._send))

    def send(self, body: bytes, more: bool = True) -> None:
        self.parts.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def hang_up(self) -> None:
        self.parts.put_nowait({"type": "http.disconnect"})

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    async def status(self) -> int:
        while not self.sent:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        return int(self.sent[0]["status"])

    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}


async def test_an_upload_that_stalls_is_408(app: Starlette) -> None:
    upload = Upload(traffic := traffic_of(Settings(upload_stall_ms=20), app), app, 100_000)
    upload.send(b"\xff\xd8\xff")
    assert await upload.status() == 408
    assert upload.headers()["x-error-code"] == "upload-too-slow"
    said = orjson.loads(upload.sent[1]["body"])["detail"]
    assert re.fullmatch(r"no byte came for 0\.02 s; 3 of 100,000 bytes came in 0\.\d s", said)
    upload.hang_up()
    await upload.task
    assert traffic.held_bytes == 0


async def test_an_upload_that_trickles_is_408(app: Starlette) -> None:
    settings = Settings(upload_stall_ms=20, min_upload_bytes_per_s=1_000_000)
    upload = Upload(traffic_of(settings, app), app)
    while not upload.sent:
        upload.send(b"x")
        await asyncio.sleep(0.005)
    assert await upload.status() == 408
    upload.hang_up()
    await upload.task


def infer_of(image: bytes) -> bytes:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(image).decode()]}
    return orjson.dumps({"inputs": [tensor]})


def form_of(name: str) -> bytes:
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="a"\r\n\r\n'
    return head.encode() + jpeg() + b"\r\n--x--\r\n"


FORM = b"multipart/form-data; boundary=x"
SLOWLY = {
    "predict": (PREDICT, b"image/jpeg", jpeg()),
    "predict of a form": (PREDICT, FORM, form_of("image")),
    "predict of JSON": (PREDICT, b"application/json", b'{"image": "%b"}' % base64.b64encode(jpeg())),
    "predict-batch": (f"{PREDICT}-batch", FORM, form_of("images")),
    "infer": (f"/v2/models/{COLOUR}/infer", b"application/json", infer_of(jpeg())),
}


@pytest.mark.parametrize(("path", "kind", "sent"), SLOWLY.values(), ids=SLOWLY)
async def test_a_slow_upload_is_waited_for_and_the_deadline_runs_from_its_end(
    app: Starlette, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, path: str, kind: bytes, sent: bytes
) -> None:
    monkeypatch.setattr(catalog, "settings", dataclasses.replace(catalog.settings, request_timeout_ms=400.0))
    upload = Upload(traffic_of(catalog.settings, app), app, len(sent), path, kind)
    for at in range(0, 200, 10):
        upload.send(sent[at : at + 10])
        await asyncio.sleep(0.025)
    upload.send(sent[200:], more=False)
    assert await upload.status() == 200
    upload.hang_up()
    await upload.task


async def test_all_bodies_together_are_bounded_and_what_is_answered_makes_room(app: Starlette) -> None:
    traffic = traffic_of(Settings(max_body_bytes=100, max_held_bytes=150), app)
    first, second = Upload(traffic, app, 100), Upload(traffic, app, 100)
    first.send(bytes(90))
    await asyncio.sleep(0.01)
    second.send(bytes(90), more=False)
    assert await second.status() == 429
    assert second.headers()["x-error-code"] == "too-many-bytes"
    assert second.headers()["retry-after"] == "1"
    await second.task
    first.send(bytes(10), more=False)
    assert await first.status() == 415  # zeros are no image; that is, they were read to the end
    first.hang_up()
    await first.task
    assert traffic.held_bytes == 0


async def test_who_still_sends_a_lot_is_answered_read_over_and_cut_off(app: Starlette, traffic: Traffic) -> None:
    upload = Upload(traffic, app, 500_000)
    assert await upload.status() == 413
    assert upload.headers()["connection"] == "close"
    body = upload.sent[1]
    assert body["more_body"]  # the whole answer is there, the connection stays until the caller has seen it
    assert len(body["body"]) == int(upload.headers()["content-length"])
    upload.send(bytes(10_000))
    assert not upload.task.done()
    upload.hang_up()
    await upload.task
    assert not upload.sent[-1].get("more_body", False)


async def test_who_sends_little_more_keeps_the_connection(app: Starlette, traffic: Traffic) -> None:
    upload = Upload(traffic, app, 2_000, "/v1/nothing")
    assert await upload.status() == 404
    assert "connection" not in upload.headers()
    await upload.task


async def test_a_rejected_request_leaves_a_line_with_reason_and_id_and_nothing_of_the_image(
    guarded: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "service")
    await guarded.post(PREDICT, content=TEXT, headers={"x-request-id": "abc-123"})
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"rejected 415 not-an-image: POST '{PREDICT}' from 127.0.0.1, request abc-123, version 2"
    assert TEXT.decode()[:8] not in line
    assert TEXT[:4].hex(" ") not in line


async def test_an_answered_request_leaves_no_line(guarded: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "service")
    await guarded.post(PREDICT, content=jpeg())
    assert not caplog.records


async def test_a_path_cannot_write_lines_of_its_own(
    guarded: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "service")
    await guarded.get("/v1/x%0a2026 rejected 200 fine")
    assert all("\n" not in record.getMessage() for record in caplog.records)
    assert caplog.records


@pytest.mark.parametrize("path", ["/v1/models/a%0ab", "/v2/models/a%00b", "/%7f"])
async def test_a_path_with_control_characters_leads_nowhere(guarded: httpx.AsyncClient, path: str) -> None:
    answer = await guarded.get(path)
    assert (answer.status_code, answer.headers["x-error-code"]) == (404, "no-such-path")


async def test_a_limit_that_a_foreign_route_runs_into_is_a_problem_too(app: Starlette) -> None:
    async def read(scope: Any, receive: Any, send: Any) -> None:
        await Request(scope, receive).body()

    held = Settings(max_body_bytes=10, max_held_bytes=10)
    async with behind_middleware(traffic_of(held, app), read) as client:
        check_problem(await client.post("/read", content=bytes(100)), 429, "too-many-bytes")


@pytest.mark.parametrize("path", ["/v2", "/v2/models/cat/infer"])
async def test_refusals_under_v2_have_that_protocols_form(path: str) -> None:
    answer = error_response(path, MalformedRequest("why"))
    assert (answer.status_code, answer.body) == (400, b'{"error":"why"}')
    assert answer.headers["x-error-code"] == "malformed-request"


@pytest.mark.parametrize("wanted", [True, False])
async def test_answers_are_logged_where_that_was_asked_for(
    app: Starlette, caplog: pytest.LogCaptureFixture, wanted: bool
) -> None:
    with caplog.at_level(logging.INFO, "service"):
        async with behind_middleware(traffic_of(Settings(access_log=wanted), app), app) as client:
            await client.get("/v1/models", headers={"x-request-id": "the-one"})
    lines = [line for line in caplog.messages if "the-one" in line]
    assert len(lines) == wanted
    assert all(line.startswith("200 GET '/v1/models' from 127.0.0.1") for line in lines)


async def test_in_the_logs_a_request_behind_a_trusted_proxy_is_its_callers(
    app: Starlette, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"x-forwarded-for": "203.0.113.7", "x-request-id": "the-one"}
    with caplog.at_level(logging.INFO, "service"):
        for proxies in ((), ("127.0.0.0/8",)):
            settings = Settings(trusted_proxies=proxies, access_log=True)
            async with behind_middleware(traffic_of(settings, app), app) as client:
                await client.get("/v1/models", headers=headers)
                await client.get("/v1/nothing", headers=headers)
    clients = [re.search(r" from ([0-9.]+),", line) for line in caplog.messages if "the-one" in line]
    assert [found and found[1] for found in clients] == ["127.0.0.1"] * 2 + ["203.0.113.7"] * 2


GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_a_trace_of_the_callers_comes_back_and_an_invalid_one_is_replaced(guarded: httpx.AsyncClient) -> None:
    for path in ("/v1/models", "/v1/nothing", "/livez"):
        answer = await guarded.get(path, headers={"traceparent": GIVEN})
        assert answer.headers["traceparent"] == GIVEN
        replaced = (await guarded.get(path, headers={"traceparent": "00-none"})).headers["traceparent"]
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", replaced)
        assert "traceparent" not in (await guarded.get(path)).headers


async def test_lines_of_the_log_name_the_trace(guarded: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "service"):
        await guarded.post(PREDICT, content=TEXT, headers={"traceparent": GIVEN, "x-request-id": "the-one"})
    (line,) = [record for record in caplog.records if "the-one" in record.getMessage()]
    assert "request the-one, trace 0af7651916cd43dd8448eb211c80319c" in line.getMessage()
    assert vars(line)["about_request"]["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


async def test_while_draining_everything_is_answered_and_callers_are_asked_to_leave(
    guarded: httpx.AsyncClient, traffic: Traffic
) -> None:
    traffic.drain()
    for answer in (await guarded.post(PREDICT, content=jpeg()), await guarded.get("/v1/models")):
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
