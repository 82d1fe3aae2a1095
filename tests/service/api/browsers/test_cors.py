"""Pages of other origins: what they may read, of every layer that answers."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from service.api.browsers.cors import EXPOSED, METHODS
from service.inference.catalog import Catalog
from service.settings import Settings
from tests.service.api.test_middleware import behind_middleware, traffic_of
from tests.service.api.test_routes import PREDICT
from tests.service.pictures import TEXT, jpeg
from tests.service.server.contexts import connected, plain_context
from tests.service.server.test_fast_path import Caller, nobody_stays, parsed, post  # noqa: F401 (a fixture)

pytestmark = pytest.mark.anyio

SHOP, OTHER = "https://shop.example", "https://evil.example"
KEY = "a-key-of-this-year"
ASKS = {"access-control-request-method": "POST", "access-control-request-headers": "authorization, content-type"}
EVERYWHERE = ["/", PREDICT, "/v1/models", "/v1/nothing", "/v2/models/x/infer", "/metrics", "/livez", "/predict"]


def of(settings: Settings, *origins: str, **others: Any) -> Settings:
    return dataclasses.replace(settings, cors_origins=origins, **others)


def allowed(headers: Any) -> str | None:
    """The origin that may read an answer; it comes with what it may read of the headers."""
    origin: str | None = headers.get("access-control-allow-origin")
    assert headers.get("access-control-expose-headers") == (origin and ", ".join(EXPOSED))
    assert "access-control-allow-credentials" not in headers
    return origin


def check(answer: httpx.Response, origin: str) -> None:
    assert allowed(answer.headers) == (origin if origin == SHOP else None)
    assert "Origin" in answer.headers.get_list("vary")


@pytest.mark.parametrize("path", EVERYWHERE)
async def test_on_every_route_one_origin_may_read_and_others_may_not(
    app: Starlette, settings: Settings, path: str
) -> None:
    async with behind_middleware(traffic_of(of(settings, SHOP), app), app) as client:
        for origin in (SHOP, OTHER, "null", SHOP.upper(), f"{SHOP}:443", f"{SHOP}.evil.example"):
            for method in ("GET", "POST", "DELETE"):
                check(await client.request(method, path, headers={"origin": origin}), origin)
        assert allowed((await client.get(path)).headers) is None


@pytest.mark.parametrize("path", EVERYWHERE)
@pytest.mark.parametrize("origins", [(SHOP,), ("*",)], ids=["listed", "any"])
async def test_every_route_may_be_asked_for_with_every_method_and_header_and_without_a_key(
    app: Starlette, settings: Settings, path: str, origins: tuple[str, ...]
) -> None:
    guarded = traffic_of(of(settings, *origins, api_keys=(KEY,)), app, "10.0.0.1")
    async with behind_middleware(guarded, app) as client:
        answer = await client.options(path, headers={"origin": SHOP} | ASKS)
        assert (answer.status_code, answer.content) == (204, b"")
        assert allowed(answer.headers) == (SHOP if origins == (SHOP,) else "*")
        assert answer.headers["access-control-allow-methods"] == METHODS
        assert answer.headers["access-control-allow-headers"] == ASKS["access-control-request-headers"]
        assert int(answer.headers["access-control-max-age"]) > 0
        refused = await client.post(PREDICT, content=jpeg(), headers={"origin": SHOP})
        assert (refused.status_code, bool(allowed(refused.headers))) == (401, True)


@pytest.mark.parametrize("headers", [{"origin": OTHER} | ASKS, ASKS, {"origin": SHOP}], ids=["other", "none", "plain"])
async def test_no_other_request_with_options_is_taken_for_a_question_of_a_known_page(
    app: Starlette, settings: Settings, headers: dict[str, str]
) -> None:
    async with behind_middleware(traffic_of(of(settings, SHOP), app), app) as client:
        answer = await client.options(PREDICT, headers=headers)
        assert (answer.status_code, "access-control-allow-methods" in answer.headers) == (405, False)


async def test_names_of_headers_that_are_none_are_not_sent_back(app: Starlette, settings: Settings) -> None:
    async with behind_middleware(traffic_of(of(settings, "*"), app), app) as client:
        for names in (b"x\xff", b"a: b", b"x" * 2_001, b'"'):
            asks = [(b"origin", b"http://x"), (b"access-control-request-method", b"GET")]
            answer = await client.options("/", headers=[*asks, (b"access-control-request-headers", names)])
            assert (answer.status_code, "access-control-allow-headers" in answer.headers) == (204, False)


async def test_whoever_asks_as_another_host_gets_no_leave(app: Starlette, settings: Settings) -> None:
    async with behind_middleware(traffic_of(of(settings, "*"), app), app) as client:
        answer = await client.options(PREDICT, headers={"origin": SHOP, "host": "evil.example"} | ASKS)
        assert (answer.status_code, answer.json()["code"]) == (421, "host-not-allowed")


async def test_without_the_setting_nothing_is_allowed(app: Starlette, settings: Settings) -> None:
    async with behind_middleware(traffic_of(settings, app), app) as client:
        answer = await client.options(PREDICT, headers={"origin": SHOP} | ASKS)
        assert answer.status_code == 405
        assert not [name for name in answer.headers if name.startswith("access-control") or name == "vary"]


@pytest.mark.parametrize(("body", "status"), [(jpeg(), 200), (TEXT, 415)], ids=["answered", "refused"])
@pytest.mark.parametrize("origins", [(SHOP,), ("*",)], ids=["listed", "any"])
async def test_the_fast_path_writes_the_headers_that_the_app_writes(
    app: Starlette, catalog: Catalog, origins: tuple[str, ...], body: bytes, status: int
) -> None:
    traffic = traffic_of(of(catalog.settings, *origins), app)
    found = []
    for origin in (SHOP, OTHER):
        for slowly in ({}, {"x_request_timeout_ms": "9000"}):
            caller = Caller(app, catalog, traffic)
            answer = await caller.answer(post(body=body, x_request_id="mine", origin=origin, **slowly))
            assert (answer.status, bool(caller.asked)) == (status, bool(slowly))
            assert allowed(answer.headers) == ("*" if origins == ("*",) else origin if origin == SHOP else None)
            found.append({n: v for n, v in answer.headers.items() if n not in ("server-timing", "content-length")})
    assert found[0] == found[1]
    assert found[2] == found[3]


REFUSED = {
    "shed": (b"POST /v1/x HTTP/1.1\r\nHost: x\r\nOrigin: https://shop.example\r\nContent-Length: 0\r\n\r\n", 429),
    "no host": (b"GET / HTTP/1.1\r\nOrigin: https://shop.example\r\n\r\n", 400),
    "too much": (b"GET / HTTP/1.1\r\nOrigin: https://shop.example\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 431),
}


@pytest.mark.parametrize(("sent", "status"), REFUSED.values(), ids=REFUSED)
async def test_what_a_connection_refuses_by_itself_may_be_read_too(sent: bytes, status: int) -> None:
    context = plain_context(Settings(cors_origins=(SHOP,)), shed_for_s=60)
    context.traffic.shed(b"/v1/x")
    connection, wire = connected(context, None)
    connection.data_received(sent)
    (answer,) = parsed(wire.written)
    assert (answer.status, allowed(answer.headers), answer.headers["vary"]) == (status, SHOP, "Origin")
    connection.connection_lost(None)


async def test_what_is_no_http_is_refused_where_origins_are_set() -> None:
    for origins, expected in (((SHOP,), None), (("*",), "*")):
        connection, wire = connected(plain_context(Settings(cors_origins=origins)), None)
        connection.data_received(b"\x16\x03\x01 TLS\r\n\r\n")
        (answer,) = parsed(wire.written)
        assert (answer.status, allowed(answer.headers)) == (400, expected)
        connection.connection_lost(None)


async def test_a_question_for_leave_is_not_shed_so_that_the_page_reads_why_its_request_is(
    app: Starlette, catalog: Catalog
) -> None:
    caller = Caller(app, catalog, traffic_of(of(catalog.settings, SHOP), app, shed_for_s=60))
    caller.traffic.shed(PREDICT.encode())
    asks = "".join(f"{name}: {value}\r\n" for name, value in ASKS.items())
    caller.send(f"OPTIONS {PREDICT} HTTP/1.1\r\nHost: localhost\r\nOrigin: {SHOP}\r\n{asks}\r\n".encode())
    async with asyncio.timeout(10):
        while not caller.wire.written:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert caller.wire.written.startswith(b"HTTP/1.1 204 ")
    caller.wire.writes.clear()
    answer = await caller.answer(post(origin=SHOP))
    assert (answer.status, answer.body["code"], allowed(answer.headers)) == (429, "overloaded", SHOP)
