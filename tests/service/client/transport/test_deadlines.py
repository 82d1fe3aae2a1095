"""Each step of a connection has the time that is left, and no step begins when none is."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable

import httpcore
import httpx
import pytest

from service.client.transport.deadlines import Deadline, PunctualBackend, TidyBackend
from tests.service.client.doubles import Clock
from tests.service.client.transport.network import Network

TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
SOON_S = 0.02


def connect(timeout: float | None) -> httpcore.NetworkStream:
    return PunctualBackend().connect_tcp("sightline", 3000, timeout)


def soon() -> Deadline:
    return Deadline.after(SOON_S, time.monotonic)


def test_a_deadline_is_a_number_of_seconds_and_runs_down(clock: Clock) -> None:
    deadline = Deadline.after(3, clock)
    clock.sleep(1)
    assert (deadline, deadline.left_s()) == (3, 2)
    clock.sleep(2)
    with pytest.raises(httpx.TimeoutException, match="the deadline has passed"):
        deadline.left_s()


def test_every_step_has_the_time_that_is_left(network: Network, clock: Clock) -> None:
    deadline = Deadline.after(5, clock)
    network.parts = [b"one", b"two"]
    stream = connect(deadline)
    clock.sleep(1)
    stream.write(b"ask", deadline)
    clock.sleep(1)
    assert stream.read(3, deadline) == b"one"
    clock.sleep(1)
    encrypted = stream.start_tls(TLS, None, deadline)
    clock.sleep(1)
    assert encrypted.read(3, deadline) == b"two"
    assert network.timeouts == [5, 4, 3, 2, 1]


def test_no_step_begins_after_the_end(network: Network, clock: Clock) -> None:
    deadline = Deadline.after(5, clock)
    stream = connect(deadline)
    tunnel = stream.start_tls(TLS, None, deadline).start_tls(TLS, None, deadline)
    network.timeouts.clear()
    clock.sleep(5)
    steps: list[Callable[[], object]] = [
        lambda: connect(deadline),
        lambda: stream.read(1, deadline),
        lambda: stream.write(b"x", deadline),
        lambda: stream.start_tls(TLS, None, deadline),
        lambda: tunnel.read(1, deadline),
        lambda: tunnel.write(b"x", deadline),
    ]
    for step in steps:
        with pytest.raises(httpx.TimeoutException, match="the deadline has passed"):
            step()
    assert (network.timeouts, network.sent) == ([], b"")


@pytest.mark.parametrize("timeout", [None, 7.5])
def test_a_timeout_that_is_no_deadline_is_given_on_as_it_is(network: Network, timeout: float | None) -> None:
    network.parts = [b"one"]
    stream = connect(timeout)
    stream.write(b"ask", timeout)
    stream.read(3, timeout)
    assert network.timeouts == [timeout] * 3


def test_a_peer_that_reads_slowly_is_left_at_the_end(network: Network, clock: Clock) -> None:
    network.most_sent_at_once = 4
    network.before_sending = lambda: clock.sleep(1)
    with pytest.raises(httpx.TimeoutException):
        connect(None).write(bytes(100), Deadline.after(3, clock))
    assert len(network.sent) == 12


def test_what_is_sent_in_pieces_arrives_whole(network: Network) -> None:
    network.most_sent_at_once = 4
    connect(None).write(b"an image in pieces", None)
    assert network.sent == b"an image in pieces"


@pytest.mark.parametrize(
    ("failure", "kind"), [(TimeoutError, httpcore.WriteTimeout), (BrokenPipeError, httpcore.WriteError)]
)
def test_a_failure_to_send_is_one_of_httpcore(network: Network, failure: type[OSError], kind: type[Exception]) -> None:
    def fail() -> None:
        raise failure("no more")

    network.before_sending = fail
    with pytest.raises(kind, match="no more"):
        connect(None).write(b"x", None)


def test_a_failure_to_connect_is_passed_on(network: Network) -> None:
    def fail() -> None:
        raise httpcore.ConnectError("refused")

    network.before_opening = fail
    with pytest.raises(httpcore.ConnectError, match="refused"):
        connect(soon())


@pytest.mark.parametrize("then_fails", [False, True])
def test_a_connection_that_comes_too_late_is_closed(network: Network, then_fails: bool) -> None:
    late = threading.Event()
    ended = threading.Event() if then_fails else network.was_closed

    def open_late() -> None:
        late.wait(30)
        if then_fails:
            ended.set()
            raise httpcore.ConnectError("refused")

    network.before_opening = open_late
    with pytest.raises(httpcore.ConnectTimeout, match="no connection in time"):
        connect(soon())
    late.set()
    assert ended.wait(30)


@pytest.fixture
def cut_off(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when the socket of a connection is shut down."""
    shut = threading.Event()
    monkeypatch.setattr(socket.socket, "shutdown", lambda *_: shut.set())
    return shut


@pytest.mark.parametrize("step", ["read", "write", "start_tls"])
def test_tls_inside_tls_is_cut_off_at_the_end(network: Network, cut_off: threading.Event, step: str) -> None:
    """The TLS of a proxy waits anew for each piece of a record, so that a timeout alone would not end it."""

    def hang() -> None:
        assert cut_off.wait(30)
        raise httpcore.ReadError("the socket was shut down")

    encrypted = connect(None).start_tls(TLS)
    tunnel = encrypted.start_tls(TLS)
    network.before_reading = network.before_sending = network.before_handshake = hang
    steps: dict[str, Callable[[], object]] = {
        "read": lambda: tunnel.read(1, soon()),
        "write": lambda: tunnel.write(b"x", soon()),
        "start_tls": lambda: encrypted.start_tls(TLS, None, soon()),
    }
    with pytest.raises(httpx.TimeoutException, match="the deadline has passed"):
        steps[step]()


def test_an_error_of_tls_inside_tls_before_the_end_stays_what_it_is(network: Network, cut_off: threading.Event) -> None:
    def fail() -> None:
        raise httpcore.ReadError("broken record")

    tunnel = connect(None).start_tls(TLS).start_tls(TLS)
    network.before_reading = fail
    with pytest.raises(httpcore.ReadError, match="broken record"):
        tunnel.read(1, None)
    assert not cut_off.is_set()


def test_closing_closes_what_lies_below(network: Network) -> None:
    connect(None).start_tls(TLS).close()
    assert network.was_closed.is_set()


@pytest.mark.parametrize("failure", [httpcore.ConnectError, asyncio.CancelledError])
def test_an_asyncio_connection_whose_handshake_fails_or_is_cancelled_is_closed(
    network: Network, failure: type[BaseException]
) -> None:
    def fail() -> None:
        raise failure

    async def shake_hands() -> None:
        stream = await TidyBackend().connect_tcp("sightline", 443)
        network.before_handshake = fail
        await stream.start_tls(TLS)

    with pytest.raises(failure):
        asyncio.run(shake_hands())
    assert network.was_closed.is_set()


def test_an_asyncio_connection_passes_its_steps_on(network: Network) -> None:
    async def steps() -> bytes:
        stream = await TidyBackend().connect_tcp("sightline", 443, 1)
        encrypted = await stream.start_tls(TLS, None, 2)
        await encrypted.write(b"ask", 3)
        assert stream.get_extra_info("ssl_object") is None
        assert encrypted.get_extra_info("ssl_object") is not None
        return await encrypted.read(3, 4)

    network.parts = [b"one"]
    assert asyncio.run(steps()) == b"one"
    assert (network.sent, network.timeouts) == (b"ask", [1, 2, 4])
