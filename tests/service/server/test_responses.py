from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.api.responses import error_response
from service.server.responses import OVERLOADED, WholeResponses, overloaded, raw_response
from service.telemetry.ids import RequestIds
from service.telemetry.traces import new_trace
from tests.service.wire import Wire

pytestmark = pytest.mark.anyio

HEAD, BODY = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n", b"body"
DATE = ((b"date", b"Sun, 22 Nov 2026 05:00:00 GMT"),)


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
async def whole(wire: Wire) -> WholeResponses:
    transport: Any = wire
    return WholeResponses(transport, asyncio.get_running_loop())


async def test_head_and_body_leave_in_one_write(whole: WholeResponses, wire: Wire) -> None:
    whole.write(HEAD)
    assert wire.writes == []
    whole.write(BODY)
    await asyncio.sleep(0.01)
    assert wire.writes == [HEAD + BODY]


async def test_a_head_whose_body_is_late_leaves_in_the_next_turn_of_the_loop(whole: WholeResponses, wire: Wire) -> None:
    whole.write(HEAD)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert wire.writes == [HEAD]
    whole.write(BODY)
    assert wire.writes == [HEAD, BODY]


async def test_a_body_in_parts_leaves_as_it_comes(whole: WholeResponses, wire: Wire) -> None:
    for part in (HEAD, BODY, BODY):
        whole.write(part)
    assert wire.writes == [HEAD + BODY, BODY]


async def test_leave_to_send_a_body_is_given_at_once_and_is_no_head(whole: WholeResponses, wire: Wire) -> None:
    leave = b"HTTP/1.1 100 Continue\r\n\r\n"
    whole.write(leave)
    assert wire.writes == [leave]
    whole.write(HEAD)
    whole.write(BODY)
    assert wire.writes == [leave, HEAD + BODY]


async def test_closing_sends_a_head_that_is_held_back(whole: WholeResponses, wire: Wire) -> None:
    whole.write(HEAD)
    whole.close()
    await asyncio.sleep(0.01)
    assert wire.writes == [HEAD]
    assert whole.is_closing()


async def test_to_who_has_left_nothing_is_sent(whole: WholeResponses, wire: Wire) -> None:
    whole.write(HEAD)
    wire.close()
    await asyncio.sleep(0.01)
    assert wire.writes == []


@pytest.mark.parametrize("ids", [RequestIds("mine"), RequestIds("mine", new_trace())], ids=["", "in a trace"])
@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("path", ["/v1/models/x/predict", "/v2/models/x/infer", "/"])
async def test_the_quick_refusal_has_the_bytes_of_the_usual_one(path: str, keep_alive: bool, ids: RequestIds) -> None:
    usual = raw_response(error_response(path, OVERLOADED), DATE, ids, keep_alive)
    assert overloaded(path, DATE, ids, keep_alive) == usual
    assert (b"connection: close\r\n" in usual) != keep_alive
    assert usual.startswith(b"HTTP/1.1 429 Too Many Requests\r\ndate: Sun, 22 Nov 2026 05:00:00 GMT\r\n")
