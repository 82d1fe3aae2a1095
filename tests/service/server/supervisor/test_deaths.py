"""`service.server.supervisor.deaths`, with a stub of circus's arbiter whose loop runs what it is given."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from service.server.supervisor.deaths import STARTS, Deaths, worker_starts


class Loop:
    """Runs at once what is to run soon, and keeps what is to run later."""

    def __init__(self) -> None:
        self.later: list[Callable[[], None]] = []

    def add_callback_from_signal(self, what: Callable[[], None]) -> None:
        what()

    def call_later(self, seconds: float, what: Callable[[], None]) -> None:
        self.later.append(what)


class Watcher:
    def __init__(self) -> None:
        self.hooks: dict[str, Callable[..., Any]] = {}
        self.env: dict[str, str] = {}
        self.respawn = True
        self.state = "active"

    def status(self) -> str:
        return self.state

    def spawn(self) -> int:
        """Start a worker as circus does; what the worker says of its number."""
        assert self.hooks["before_spawn"](watcher=self, arbiter=None, hook_name="before_spawn")
        return worker_starts(self.env)

    def reap(self, exit_code: int) -> None:
        about = {"watcher": self, "arbiter": None, "hook_name": "after_reap", "process_status": 1, "time": 0.0}
        self.hooks["after_reap"](process_pid=4711, exit_code=exit_code, **about)


class Arbiter:
    def __init__(self) -> None:
        self.loop = Loop()
        self.watchers = [Watcher()]
        self.looks = 0
        self.busy = 0  # times that it is to refuse

    def manage_watchers(self) -> None:
        if self.busy:
            from circus.exc import ConflictError

            self.busy -= 1
            raise ConflictError("arbiter is already running another command")
        self.looks += 1


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGCHLD, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def arbiter() -> Arbiter:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run below nohup, which is another case
    made = Arbiter()
    Deaths().watch(made)
    return made


def test_a_worker_knows_how_many_there_have_been(arbiter: Arbiter) -> None:
    assert [arbiter.watchers[0].spawn() for _ in range(3)] == [1, 2, 3]


def test_a_worker_without_a_supervisor_of_ours_is_the_first() -> None:
    assert worker_starts({}) == 1
    assert worker_starts({STARTS: "7"}) == 7


@pytest.mark.parametrize(
    ("exit_code", "respawn", "said"),
    [
        (-signal.SIGKILL, True, "process 4711, ended unexpectedly with SIGKILL; another one is started"),
        (1, True, "process 4711, ended unexpectedly with status 1; another one is started"),
        (-signal.SIGKILL, False, "process 4711, ended unexpectedly with SIGKILL; the server ends with it"),
    ],
    ids=["killed", "gave up", "in a container"],
)
def test_a_worker_that_dies_is_said_to(
    arbiter: Arbiter, caplog: pytest.LogCaptureFixture, exit_code: int, respawn: bool, said: str
) -> None:
    arbiter.watchers[0].respawn = respawn
    with caplog.at_level(logging.INFO, "service"):
        arbiter.watchers[0].reap(exit_code)
    assert [said in line for line in caplog.messages] == [True]


def test_a_worker_that_was_to_end_is_no_news(arbiter: Arbiter, caplog: pytest.LogCaptureFixture) -> None:
    arbiter.watchers[0].state = "stopping"
    arbiter.watchers[0].reap(0)
    assert caplog.messages == []


def test_a_death_is_looked_after_at_once_and_the_next_one_within_ten_seconds_is_left_to_circus(
    arbiter: Arbiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for seconds, looks in ((0, 1), (5, 1), (11, 2)):
        now[0] = 1_000.0 + seconds
        signal.raise_signal(signal.SIGCHLD)
        assert arbiter.looks == looks


def test_where_circus_is_busy_it_is_asked_again(arbiter: Arbiter) -> None:
    arbiter.busy = 2
    signal.raise_signal(signal.SIGCHLD)
    while arbiter.loop.later:
        assert arbiter.looks == 0
        arbiter.loop.later.pop()()
    assert arbiter.looks == 1


def test_at_the_end_nobody_is_looked_after(arbiter: Arbiter) -> None:
    arbiter.watchers[0].state = "stopping"
    signal.raise_signal(signal.SIGCHLD)
    assert (arbiter.looks, arbiter.loop.later) == (0, [])


def test_a_hang_up_ends_the_server_as_sigterm_does(arbiter: Arbiter, caplog: pytest.LogCaptureFixture) -> None:
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    os.kill(os.getpid(), signal.SIGHUP)
    assert ended == [signal.SIGTERM]
    assert "SIGHUP: shutting down" in caplog.text


def test_a_hang_up_that_was_ignored_before_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    deaths = Deaths()
    signal.signal(signal.SIGHUP, lambda *_: None)  # as circus does
    deaths.watch(Arbiter())
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
