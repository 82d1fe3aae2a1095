"""Promises of `load_tests.generators.arrivals` that need no server."""

from __future__ import annotations

import itertools
import socket
import statistics
import threading
from collections.abc import Iterator

import pytest

from load_tests.generators.arrivals import Answer, Connections, moments, summary

HEAD = b"HTTP/1.1 200 OK\r\nserver-timing: decode;dur=0.100, queue;dur=1.000, infer;dur=2.000\r\n\r\n{}"


@pytest.mark.parametrize("spaced", ["evenly", "randomly"])
def test_as_many_come_as_were_asked_for(spaced):
    due_s = list(moments(10, 1_000, spaced))
    assert len(due_s) == pytest.approx(10_000, abs=500)
    assert due_s == list(moments(10, 1_000, spaced))  # so that two servers see the same
    gaps = [1_000 * (after - before) for before, after in itertools.pairwise([0.0, *due_s])]
    assert statistics.fmean(gaps) == pytest.approx(1, rel=0.05)
    assert statistics.pstdev(gaps) == pytest.approx(0 if spaced == "evenly" else 1, abs=0.05)


def test_what_no_step_accounts_for_is_the_rest():
    answers = [Answer(0.004, 0.0, HEAD)] * 98 + [Answer(0.014, 0.001, HEAD.replace(b"queue;dur=1", b"queue;dur=9"))] * 2
    found = summary(answers)
    assert found["steps_ms"] == {"decode": 0.1, "queue": 1.16, "infer": 2.0, "rest": 0.94}
    assert found["slowest_steps_ms"] == {"decode": 0.1, "queue": 9.0, "infer": 2.0, "rest": 2.9}
    assert (found["p50_ms"], found["p99_ms"], found["late_p99_ms"]) == (4.0, 14.0, 1.0)
    assert found["statuses"] == {"200": 100}


def test_a_refusal_has_no_steps():
    found = summary([Answer(0.001, 0.0, b"HTTP/1.1 429 Too Many Requests\r\n\r\n{}")])
    assert (found["statuses"], found["steps_ms"]["rest"]) == ({"429": 1}, 1.0)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def posted(listener: socket.socket, *answers: bytes, more: int = 0) -> list[Answer]:
    """What becomes of requests to a server that answers one a connection, and is gone after the last."""

    def serve() -> None:
        for number, answer in enumerate(answers, 1):
            connection, _ = listener.accept()
            if number == len(answers):
                listener.close()
            with connection:
                connection.recv(1_000)
                connection.sendall(answer)

    port = listener.getsockname()[1]
    server = threading.Thread(target=serve)
    server.start()
    requests = [b"GET / HTTP/1.1\r\n\r\n"] * (len(answers) + more)
    found = Connections(port, answer_within_s=5.0).post(requests, itertools.repeat(0.0))
    server.join()
    return found


WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


def test_a_connection_that_the_server_closes_is_opened_anew(listener: socket.socket):
    assert [(answer.status, answer.content) for answer in posted(listener, WHOLE, WHOLE)] == [("200", WHOLE)] * 2


def test_what_a_request_waited_for_a_connection_is_known(listener: socket.socket, monkeypatch: pytest.MonkeyPatch):
    clock = itertools.count(1.0)
    monkeypatch.setattr("time.monotonic", lambda: next(clock))  # a second passes between two looks at it
    first, second = posted(listener, WHOLE, WHOLE)
    assert (first.waited_s, second.waited_s) == (1.0, 2.0)
    assert second.took_s > second.waited_s


def test_an_answer_that_breaks_off_is_kept_as_far_as_it_came(listener: socket.socket):
    (answer,) = posted(listener, WHOLE[:-1])
    assert (answer.status, answer.content) == ("broken off", WHOLE[:-1])


def test_a_server_that_is_gone_refuses_one_request_and_gets_no_more(listener: socket.socket):
    assert [answer.status for answer in posted(listener, WHOLE, more=3)] == ["200", "refused"]


def test_an_answer_that_stays_away_is_given_up(listener: socket.socket):
    port = listener.getsockname()[1]
    (answer,) = Connections(port, answer_within_s=0.05).post([b"GET / HTTP/1.1\r\n\r\n"], [0.0])
    assert answer.status == "hung"
