from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.server.sockets import (
    ACCEPTED_AT_ONCE,
    OTHER_FILES,
    Listeners,
    connections_allowed,
    is_reset,
    listening_addresses,
)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])  # noqa: S104
def test_a_process_knows_the_addresses_that_it_listens_on(address: str) -> None:
    with socket.socket() as bound, socket.socket() as listening:
        bound.bind((address, 0))  # not listening
        before = listening_addresses()
        listening.bind((address, 0))
        listening.listen()
        assert sorted(listening_addresses()) == sorted([*before, address])


def test_looking_for_sockets_leaves_no_file_open(listening: socket.socket) -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    assert listening_addresses()
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_there_are_never_more_connections_than_files(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    asked: list[Any] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 1024))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    assert connections_allowed(2_000) == 1024 - OTHER_FILES
    assert asked == [(1024, 1024)]


def test_where_files_suffice_nothing_is_asked_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (4096, 4096))
    monkeypatch.delattr(resource, "setrlimit")
    assert connections_allowed(2_000) == 2_000


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(2 * ACCEPTED_AT_ONCE)
        yield listening


def callers_of(listening: socket.socket, count: int) -> list[socket.socket]:
    return [socket.create_connection(listening.getsockname()) for _ in range(count)]


def close(*sockets: socket.socket) -> None:
    for one in sockets:
        one.close()


def test_many_who_wait_are_accepted_at_once_and_nobody_is_waited_for(listening: socket.socket) -> None:
    listeners = Listeners()
    listeners.open()
    callers = callers_of(listening, 10)
    accepted = list(listeners.accept())
    assert {one.getpeername() for one in accepted} >= {caller.getsockname() for caller in callers}
    assert not any(one.getblocking() for one in accepted)
    assert list(listeners.accept()) == []
    listeners.stop()
    close(*accepted, *callers)


def test_no_more_are_accepted_at_once_than_a_turn_of_the_loop_should_take(listening: socket.socket) -> None:
    listeners = Listeners()
    listeners.open()
    callers = callers_of(listening, ACCEPTED_AT_ONCE + 3)
    first, second = list(listeners.accept()), list(listeners.accept())
    assert (len(first), len(second)) == (ACCEPTED_AT_ONCE, 3)
    listeners.stop()
    close(*first, *second, *callers)


def test_once_stopped_the_system_refuses_connections_although_another_holds_the_socket(
    listening: socket.socket,
) -> None:
    listeners = Listeners()
    listeners.open()
    listeners.stop()
    with pytest.raises(ConnectionRefusedError):
        callers_of(listening, 1)
    assert list(listeners.accept()) == []


def test_who_listens_again_on_a_stopped_socket_is_reached(listening: socket.socket) -> None:
    listeners = Listeners()
    listeners.open()
    listeners.stop()
    listening.listen()
    (caller,) = callers_of(listening, 1)
    close(caller)


def test_all_who_wait_are_accepted_before_the_end(listening: socket.socket) -> None:
    listeners = Listeners()
    listeners.open()
    callers = callers_of(listening, ACCEPTED_AT_ONCE + 3)
    accepted = list(listeners.accept_all())
    assert len(accepted) == ACCEPTED_AT_ONCE + 3
    listeners.stop()
    close(*accepted, *callers)


class Transport(asyncio.BaseTransport):
    def __init__(self, connection: socket.socket | None) -> None:
        super().__init__({"socket": connection})


def test_a_reset_is_seen_by_who_neither_reads_nor_writes(listening: socket.socket) -> None:
    (caller,) = callers_of(listening, 1)
    accepted, _ = listening.accept()
    with accepted:
        caller.shutdown(socket.SHUT_WR)
        assert not is_reset(Transport(accepted))  # who sends no more may still read
        caller.close()
        accepted.sendall(b"are you there?")
        until = time.monotonic() + 5
        while not is_reset(Transport(accepted)) and time.monotonic() < until:
            time.sleep(0.01)
        assert is_reset(Transport(accepted))
    assert is_reset(Transport(accepted))  # closed since
    assert not is_reset(Transport(None))
