from __future__ import annotations

import asyncio
import logging
import socket
import time
from typing import Any

import orjson
import pytest

from service.api.traffic import LOG_LINES_PER_S
from service.server import protocol
from service.server.protocol import ConnectionProtocol
from service.settings import Settings
from tests.service.server.contexts import connected, plain_context
from tests.service.wire import Wire

pytestmark = pytest.mark.anyio

GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


async def respond(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


async def never(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await receive()


def a_connection(
    settings: Settings,
    app: Any = never,
    beside: ConnectionProtocol | None = None,
    shed: bytes = b"",
    peer: str = "",
) -> tuple[ConnectionProtocol, Wire]:
    """A connection that has just been made, alone or in one server with another; a path may be shed for a minute."""
    context = beside.context if beside else plain_context(settings, shed_for_s=60)
    if shed:
        context.traffic.shed(shed)
    return connected(context, app, state=beside.server_state if beside else None, peer=peer)


async def until_closed(wire: Wire) -> None:
    async with asyncio.timeout(5):
        await wire.closed.wait()


async def test_a_request_is_answered_and_the_connection_stays() -> None:
    connection, wire = a_connection(Settings(), respond)
    for _ in range(2):
        connection.data_received(GET)
        await asyncio.sleep(0.01)
    assert wire.written.count(b"HTTP/1.1 204") == 2
    assert not wire.closed.is_set()
    connection.connection_lost(None)


async def test_a_head_that_comes_in_pieces_is_read() -> None:
    connection, wire = a_connection(Settings(), respond)
    for letter in GET:
        connection.data_received(bytes([letter]))
    await asyncio.sleep(0.01)
    assert wire.written.startswith(b"HTTP/1.1 204")
    connection.connection_lost(None)


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHos", b"\r\n"], ids=["silence", "half a head", "newlines"])
async def test_who_does_not_finish_a_head_is_cut_off(begun: bytes) -> None:
    connection, wire = a_connection(Settings(header_timeout_ms=20), respond)
    if begun:
        connection.data_received(begun)
    await until_closed(wire)
    assert wire.written == b""


async def test_that_holds_for_the_second_request_on_a_connection_too() -> None:
    connection, wire = a_connection(Settings(header_timeout_ms=20), respond)
    connection.data_received(GET)
    await asyncio.sleep(0.05)
    assert not wire.closed.is_set()  # idle, which is uvicorn's to end
    connection.data_received(b"GET")
    await until_closed(wire)


@pytest.mark.parametrize(
    "head",
    [b"GET /" + b"x" * 5_000, b"GET / HTTP/1.1\r\na: " + b"x" * 5_000, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1_000],
    ids=["a long path", "a long header", "many headers"],
)
@pytest.mark.parametrize("ends", [b"", b" HTTP/1.1\r\n\r\n", b"\r\n\r\n"], ids=["unfinished", "path", "header"])
async def test_a_head_too_large_is_431_finished_or_not(head: bytes, ends: bytes) -> None:
    connection, wire = a_connection(Settings(max_header_bytes=1024), respond)
    connection.data_received(head + ends)
    assert wire.refusal() == (431, "head-too-large")
    written = wire.written
    connection.data_received(GET * 10)  # what comes after is read over
    assert wire.written == written


async def test_a_head_that_trickles_and_grows_is_431() -> None:
    connection, wire = a_connection(Settings(max_header_bytes=1024), respond)
    connection.data_received(b"GET / HTTP/1.1\r\na: ")
    for _ in range(30):
        connection.data_received(b"x" * 100)
    assert wire.refusal() == (431, "head-too-large")


async def test_trailers_count_as_head() -> None:
    connection, wire = a_connection(Settings(max_header_bytes=1024))
    connection.data_received(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
    connection.data_received(b"a: b\r\n" * 1_000)
    assert wire.half_closed
    assert wire.written == b""  # the route may have begun to answer, so nothing is put in between
    connection.connection_lost(None)


async def test_a_body_is_no_head() -> None:
    connection, wire = a_connection(Settings(max_header_bytes=1024), never)
    connection.data_received(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(50):
        connection.data_received(bytes(1_000))
    assert not wire.closed.is_set()
    connection.connection_lost(None)


async def test_the_rest_of_a_body_that_nobody_wanted_is_no_head() -> None:
    connection, wire = a_connection(Settings(max_header_bytes=1024), respond)
    connection.data_received(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n")
    await asyncio.sleep(0.01)
    assert wire.written.count(b"HTTP/1.1 204") == 1
    connection.data_received(bytes(3_000))
    connection.data_received(bytes(2_000))  # its end
    connection.data_received(GET)
    await asyncio.sleep(0.01)
    assert wire.written.count(b"HTTP/1.1 204") == 2
    assert b"431" not in wire.written
    connection.connection_lost(None)


async def answered(connection: ConnectionProtocol, wire: Wire) -> None:
    count = len(wire.writes)
    connection.data_received(GET)
    async with asyncio.timeout(5):
        while len(wire.writes) == count:  # noqa: ASYNC110 (a wire has no events)
            await asyncio.sleep(0.001)


async def test_an_idle_connection_stays_longer_than_a_head_may_take() -> None:
    settings = Settings(header_timeout_ms=20, keep_alive_ms=60_000)
    for shed in (b"", b"/livez"):  # answered by the app, and by the connection itself
        connection, wire = a_connection(settings, respond, shed=shed)
        for _ in range(2):
            await answered(connection, wire)
            await asyncio.sleep(0.06)
            assert not wire.closed.is_set()
        connection.connection_lost(None)


async def test_a_head_that_began_behind_another_request_may_take_no_longer() -> None:
    connection, wire = a_connection(Settings(header_timeout_ms=20), respond)
    connection.data_received(GET + b"GET /li")
    await until_closed(wire)
    assert wire.written.count(b"HTTP/1.1 204") == 1
    connection.connection_lost(None)


async def test_the_longest_idle_connections_make_room_and_those_at_work_do_not() -> None:
    settings = Settings(max_connections=3)
    working, wire_of_work = a_connection(settings, never)
    working.data_received(GET)
    first, wire_of_first = a_connection(settings, respond, beside=working)
    second, wire_of_second = a_connection(settings, respond, beside=working)
    for connection, wire in ((first, wire_of_first), (second, wire_of_second), (first, wire_of_first)):
        await answered(connection, wire)  # so that the second one is idle for longer
    newcomers = [a_connection(settings, respond, beside=working) for _ in range(3)]
    assert [wire.closed.is_set() for wire in (wire_of_work, wire_of_first, wire_of_second)] == [False, True, True]
    assert [wire.written[:12] for _, wire in newcomers] == [b"", b"", b"HTTP/1.1 503"]
    for connection in (working, first, second, *(made for made, _ in newcomers)):
        connection.connection_lost(None)


async def test_one_address_may_have_a_share_of_the_connections_only_and_proxies_more() -> None:
    settings = Settings(max_connections_per_client=1, trusted_proxies=("127.0.0.1",))
    first, _ = a_connection(settings, respond, peer="10.0.0.1")
    proxies = [a_connection(settings, respond, beside=first, peer="127.0.0.1") for _ in range(3)]
    assert not any(wire.written for _, wire in proxies)
    second, wire = a_connection(settings, respond, beside=first, peer="10.0.0.1")
    assert wire.refusal() == (503, "too-many-connections")
    first.connection_lost(None)
    second.connection_lost(None)
    again, wire = a_connection(settings, respond, beside=first, peer="10.0.0.1")
    assert wire.written == b""
    for connection in (again, *(made for made, _ in proxies)):
        connection.connection_lost(None)


async def test_one_connection_more_is_503_and_makes_no_difference_to_the_others() -> None:
    settings = Settings(max_connections=1)
    first, wire = a_connection(settings, respond)
    _, refused = a_connection(settings, respond, beside=first)
    assert refused.refusal() == (503, "too-many-connections")
    first.data_received(GET)
    await asyncio.sleep(0.01)
    assert wire.written.startswith(b"HTTP/1.1 204")


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\nHost x\r\n\r\n"]
)
async def test_what_is_no_http_is_400_closed_counted_and_logged_once_with_the_address(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    connection, wire = a_connection(Settings(), respond)
    connection.data_received(sent)
    assert wire.refusal() == (400, "malformed-request")
    (line,) = caplog.messages
    assert line.startswith("rejected 400 malformed-request: ")
    assert " from unknown, " in line
    metrics = connection.context.traffic.metrics.registry
    assert metrics.get_sample_value("sightline_rejected_total", {"reason": "malformed-request"}) == 1


async def test_refusals_of_a_connection_are_limited_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    first, _ = a_connection(Settings(), respond)
    for _ in range(3 * LOG_LINES_PER_S):
        connection, _ = a_connection(Settings(), respond, beside=first)
        connection.data_received(b"no HTTP\r\n\r\n")
    assert len(caplog.messages) <= 2 * LOG_LINES_PER_S  # a second may end meanwhile


@pytest.mark.parametrize(
    "hosts", [b"", b"Host: x\r\nHost: x\r\n", b"Host: x\r\nhost: y\r\n"], ids=["none", "twice", "two"]
)
@pytest.mark.parametrize(
    "first", [b"GET / HTTP/1.1\r\n", b"POST /v1/models/x/predict HTTP/1.1\r\nContent-Length: 3\r\n"]
)
async def test_a_request_without_one_host_is_400(hosts: bytes, first: bytes) -> None:
    connection, wire = a_connection(Settings(), respond)
    connection.data_received(first + hosts + b"\r\nabc")
    assert wire.refusal() == (400, "malformed-request")
    assert b"Host header" in wire.written


async def test_http_1_0_needs_no_host() -> None:
    connection, wire = a_connection(Settings(), respond)
    connection.data_received(b"GET / HTTP/1.0\r\n\r\n")
    await asyncio.sleep(0.01)
    assert wire.written.startswith(b"HTTP/1.1 204")
    connection.connection_lost(None)


async def test_more_headers_than_a_request_needs_are_431_though_they_are_short() -> None:
    connection, wire = a_connection(Settings(), respond)
    connection.data_received(GET[:-2] + b"a:\r\n" * 15_000)
    assert wire.refusal() == (431, "head-too-large")


async def test_as_many_headers_as_browsers_and_proxies_send_are_read() -> None:
    connection, wire = a_connection(Settings(), respond)
    connection.data_received(GET[:-2] + b"a: b\r\n" * 90 + b"\r\n")
    await asyncio.sleep(0.01)
    assert wire.written.startswith(b"HTTP/1.1 204")
    connection.connection_lost(None)


async def test_a_reader_who_makes_progress_is_waited_for_and_one_who_does_not_is_cut_off() -> None:
    connection, wire = a_connection(Settings(write_stall_ms=100), respond)
    wire.unread = 100_000
    connection.pause_writing()
    for unread in range(90_000, 20_000, -10_000):
        await asyncio.sleep(0.03)
        wire.unread = unread
    assert not wire.closed.is_set()
    await until_closed(wire)
    assert wire.aborted


async def test_who_is_shed_may_stay_and_what_comes_of_the_body_is_read_over() -> None:
    connection, wire = a_connection(Settings(max_header_bytes=1024), respond, shed=b"/full")
    connection.data_received(b"POST /full?top_k=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n" + bytes(2_000))
    assert wire.written.startswith(b"HTTP/1.1 429")
    assert b"retry-after" in wire.written
    assert b"connection: close" not in wire.written
    connection.data_received(bytes(3_000) + GET)
    await asyncio.sleep(0.01)
    assert wire.written.count(b"HTTP/1.1 204") == 1
    connection.data_received(b"POST /full HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n" + bytes(5_000))
    assert wire.written.count(b"HTTP/1.1 429") == 2
    assert not wire.closed.is_set()
    connection.connection_lost(None)


async def test_who_wants_to_leave_anyway_is_shed_for_good() -> None:
    connection, wire = a_connection(Settings(), respond, shed=b"/full")
    connection.data_received(b"POST /full HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    assert wire.refusal() == (429, "overloaded")
    assert wire.closed.is_set()


@pytest.mark.parametrize("header", [b"Connection: close", b"Expect: 100-continue"])
async def test_who_is_shed_for_good_may_still_send_his_body_and_nothing_else(header: bytes) -> None:
    connection, wire = a_connection(Settings(max_header_bytes=1024), respond, shed=b"/full")
    connection.data_received(b"POST /full HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n" + header + b"\r\n\r\n")
    assert not wire.closed.is_set()  # the reset that follows would overtake the answer
    connection.data_received(bytes(4_000))
    assert not wire.closed.is_set()
    connection.data_received(bytes(1_000) + GET)
    assert wire.refusal() == (429, "overloaded")
    await asyncio.sleep(0.01)
    assert wire.written.count(b"HTTP/1.1") == 1
    connection.connection_lost(None)


async def test_who_is_shed_for_good_and_never_sends_his_body_is_cut_off() -> None:
    connection, wire = a_connection(Settings(header_timeout_ms=50), respond, shed=b"/full")
    connection.data_received(b"POST /full HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nConnection: close\r\n\r\n")
    await until_closed(wire)
    connection.connection_lost(None)


@pytest.mark.parametrize(("path", "kind"), [("/v2/models/x/infer", "json"), ("/v1/full", "problem+json")])
async def test_who_is_shed_is_answered_in_his_protocols_words_with_his_request_id(path: str, kind: str) -> None:
    connection, wire = a_connection(Settings(), respond, shed=path.encode())
    connection.data_received(
        f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Request-ID: mine\r\nContent-Length: 0\r\n\r\n".encode()
    )
    head, _, body = wire.written.partition(b"\r\n\r\n")
    assert f"content-type: application/{kind}\r\n".encode() in head
    assert b"x-request-id: mine" in head
    assert b"x-content-type-options: nosniff" in head
    said = orjson.loads(body)
    assert said.get("error", said.get("detail")) == "more requests come than can be answered; send it again"
    connection.connection_lost(None)


class Echo:
    """An app that answers with the body that it got, and keeps the scopes."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})


UPGRADES = {
    "HTTP/2, as curl asks": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
    "a websocket": b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    "anything": b"upgrade: a, b\r\nconnection: UPGRADE\r\n",
}
BODY = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"  # which is itself a request
FRAMED = {
    "a length": b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY),
    "chunks": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
}


@pytest.mark.parametrize("pieces", [1, 2, 7, 1_000], ids=["whole", "halves", "pieces", "letters"])
@pytest.mark.parametrize("framed", FRAMED.values(), ids=FRAMED)
@pytest.mark.parametrize("upgrade", UPGRADES.values(), ids=UPGRADES)
async def test_who_asks_for_another_protocol_is_answered_in_this_one(
    upgrade: bytes, framed: bytes, pieces: int
) -> None:
    app = Echo()
    connection, wire = a_connection(Settings(), app)
    sent = b"POST /mine HTTP/1.1\r\nHost: x\r\n" + upgrade + framed
    size = -(-len(sent) // pieces)
    for at in range(0, len(sent), size):
        connection.data_received(sent[at : at + size])
    connection.data_received(GET)
    async with asyncio.timeout(5):
        while wire.written.count(b"HTTP/1.1 200") < 2:  # noqa: ASYNC110 (a wire has no events)
            await asyncio.sleep(0.001)
    assert [scope["path"] for scope in app.scopes] == ["/mine", "/livez"]
    assert not {b"upgrade", b"http2-settings"} & {name for name, _ in app.scopes[0]["headers"]}
    assert BODY in wire.written
    assert not wire.closed.is_set()
    connection.connection_lost(None)


async def test_requests_for_another_protocol_sent_ahead_are_answered_one_by_one() -> None:
    app = Echo()
    connection, wire = a_connection(Settings(), app)
    connection.data_received((GET[:-2] + UPGRADES["a websocket"] + b"\r\n") * 5)
    async with asyncio.timeout(5):
        while wire.written.count(b"HTTP/1.1 200") < 5:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    connection.connection_lost(None)


async def test_who_asks_for_another_protocol_and_to_close_is_answered_and_closed() -> None:
    connection, wire = a_connection(Settings(), Echo())
    connection.data_received(GET[:-2] + b"Connection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n")
    await until_closed(wire)
    assert b"connection: close" in wire.written
    connection.connection_lost(None)


async def test_a_tunnel_is_refused() -> None:
    connection, wire = a_connection(Settings(), Echo())
    connection.data_received(b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n" + BODY)
    assert wire.refusal() == (400, "malformed-request")
    await asyncio.sleep(0.01)
    assert wire.written.count(b"HTTP/1.1 ") == 1


async def test_trailers_do_not_become_headers() -> None:
    app = Echo()
    connection, wire = a_connection(Settings(), app)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection.data_received(head + b"1\r\na\r\n0\r\nX-Forwarded-For: 1.2.3.4\r\nAuthorization: Bearer y\r\n\r\n")
    await asyncio.sleep(0.01)
    assert wire.written.startswith(b"HTTP/1.1 200")
    assert [name for name, _ in app.scopes[0]["headers"]] == [b"host", b"transfer-encoding"]
    connection.connection_lost(None)


async def test_an_answer_to_a_connection_that_is_closed_is_dropped_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    connection, wire = a_connection(Settings(), respond)
    connection.data_received(GET * 5)
    wire.close()
    await asyncio.sleep(0.01)
    assert wire.written == b""
    assert not caplog.messages
    connection.connection_lost(None)


async def test_probes_are_answered_however_far_the_loop_is_behind() -> None:
    connection, wire = a_connection(Settings(max_lag_ms=1), respond)
    connection.context.lag.watch()
    time.sleep(0.1)  # noqa: ASYNC251 (a loop that is busy)
    connection.data_received(GET)
    await asyncio.sleep(0.01)
    assert wire.written.startswith(b"HTTP/1.1 204")
    connection.connection_lost(None)


async def test_a_loop_that_has_caught_up_serves_again() -> None:
    connection, wire = a_connection(Settings(max_lag_ms=20), respond)
    connection.context.lag.watch()
    time.sleep(0.1)  # noqa: ASYNC251
    await asyncio.sleep(0.06)
    connection.data_received(GET.replace(b"livez", b"v1/models"))
    await asyncio.sleep(0.01)
    assert wire.written.startswith(b"HTTP/1.1 204")
    connection.connection_lost(None)


async def test_a_path_whose_queue_was_full_is_refused_and_others_are_not() -> None:
    statuses = []
    for path in (b"/full", b"/other"):
        connection, wire = a_connection(Settings(), respond, shed=b"/full")
        connection.data_received(GET.replace(b"/livez", path))
        await asyncio.sleep(0.01)
        statuses.append(wire.written[9:12])
        connection.connection_lost(None)
    assert statuses == [b"429", b"204"]


async def test_callers_who_wait_are_accepted_with_the_next_connection() -> None:
    context = plain_context(Settings())
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(20)
        context.listeners.open()
        callers = [socket.create_connection(listening.getsockname()) for _ in range(10)]
        connection, _ = connected(context, respond)
        async with asyncio.timeout(10):
            while len(connection.connections) < 1 + len(callers):  # noqa: ASYNC110 (a set has no events)
                await asyncio.sleep(0.001)
        for caller in callers:
            caller.sendall(GET)
            caller.setblocking(False)
            async with asyncio.timeout(10):
                answer = await asyncio.get_running_loop().sock_recv(caller, 100)
            assert answer.startswith(b"HTTP/1.1 204")
            caller.close()
        context.listeners.stop()
    connection.connection_lost(None)


async def test_what_uvicorn_writes_in_two_parts_leaves_in_one() -> None:
    connection, wire = a_connection(Settings(), respond)
    connection.data_received(GET)
    await asyncio.sleep(0.01)
    assert len(wire.writes) == 1
    connection.connection_lost(None)


async def test_a_reader_who_is_too_slow_is_cut_off_though_he_makes_progress() -> None:
    connection, wire = a_connection(Settings(write_stall_ms=50, min_read_bytes_per_s=100_000), respond)
    wire.unread = 1_000_000
    connection.pause_writing()
    for _ in range(20):
        await asyncio.sleep(0.02)
        wire.unread -= 400
    assert wire.aborted
    connection.connection_lost(None)


async def test_bodies_sent_ahead_are_held_bytes_until_their_turn_or_the_end() -> None:
    ahead = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n" + bytes(50_000)
    first, wire = a_connection(Settings(max_held_bytes=120_000, max_body_bytes=100_000), never)
    traffic = first.context.traffic
    first.data_received(GET + ahead + ahead)
    assert traffic.held_bytes == 100_000
    second, refused = a_connection(Settings(), never, beside=first)
    second.data_received(GET + ahead)
    assert refused.half_closed
    assert (traffic.held_bytes, wire.half_closed) == (100_000, False)
    for connection in (first, second):
        connection.connection_lost(None)
    assert traffic.held_bytes == 0


async def test_bodies_sent_ahead_are_let_go_when_it_is_their_turn() -> None:
    ahead = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n" + bytes(500)
    connection, wire = a_connection(Settings(), Echo())
    connection.data_received(GET + ahead + ahead)
    assert connection.context.traffic.held_bytes == 1_000
    async with asyncio.timeout(5):
        while wire.written.count(b"HTTP/1.1 200") < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert connection.context.traffic.held_bytes == 0
    connection.connection_lost(None)


# Who sends no more


async def late(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(0.05)
    await respond(scope, receive, send)


async def test_who_sends_no_more_is_answered_and_then_closed() -> None:
    connection, wire = a_connection(Settings(), late)
    connection.data_received(GET + GET)
    assert connection.eof_received()
    await until_closed(wire)
    assert wire.written.count(b"HTTP/1.1 204") == 2
    assert wire.written.startswith(b"HTTP/1.1 204")
    connection.connection_lost(None)


async def test_who_sends_no_more_and_waits_for_long_is_asked_in_between_whether_he_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(protocol, "PROBE_AFTER_S", 0.01)
    connection, wire = a_connection(Settings(), late)
    connection.data_received(GET)
    assert connection.eof_received()
    await until_closed(wire)
    assert wire.written.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204")
    connection.connection_lost(None)


async def test_who_turns_out_to_have_left_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROBE_AFTER_S", "PROBE_EVERY_S"):
        monkeypatch.setattr(protocol, name, 0.01)
    resets = iter((False, True))
    monkeypatch.setattr(protocol, "is_reset", lambda _: next(resets))
    connection, wire = a_connection(Settings(), never)
    connection.data_received(GET)
    assert connection.eof_received()
    await until_closed(wire)
    assert wire.aborted
    connection.connection_lost(None)


@pytest.mark.parametrize(
    "sent",
    [b"", GET[:-3], b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf", b"no HTTP\r\n\r\n"],
    ids=["nothing", "half a head", "half a body", "no HTTP"],
)
async def test_who_sends_no_more_and_has_asked_for_nothing_is_let_go(sent: bytes) -> None:
    connection, _ = a_connection(Settings(), never)
    if sent:
        connection.data_received(sent)
    assert not connection.eof_received()
    connection.connection_lost(None)


async def test_who_sends_no_more_after_his_answer_is_let_go() -> None:
    connection, wire = a_connection(Settings(), respond)
    connection.data_received(GET)
    await asyncio.sleep(0.01)
    assert b"HTTP/1.1 204" in wire.written
    assert not connection.eof_received()
    connection.connection_lost(None)
