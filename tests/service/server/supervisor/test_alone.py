from __future__ import annotations

import gc
import socket
from collections.abc import Iterator
from typing import Any

import click
import pytest
from _bentoml_impl.worker import service as worker

from service.errors import SettingsError
from service.server.supervisor import alone


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """What a start holds back goes on afterwards."""
    yield
    gc.enable()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with alone.listen("127.0.0.1", 0) as there:
        yield there


def does(monkeypatch: pytest.MonkeyPatch, what: Any) -> None:
    """Have BentoML's program do this with the number of its socket."""

    @click.command()
    @click.argument("service")
    @click.option("--fd", type=int)
    @click.option("--backlog", type=int)
    @click.option("--worker-id", type=int)
    def main(service: str, fd: int, backlog: int, worker_id: int) -> None:
        with socket.socket(fileno=fd) as there:
            what(service, there, backlog, worker_id)

    monkeypatch.setattr(worker, "main", main)


def test_bentomls_program_gets_the_service_and_the_socket(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    address = listener.getsockname()
    does(monkeypatch, lambda service, there, *more: given.append((service, there.getsockname(), *more)))
    alone.serve("a.module:Service", listener)
    assert given == [("a.module:Service", address, alone.BACKLOG, 1)]


def test_ctrl_c_is_told_as_such(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    does(monkeypatch, interrupted)
    with pytest.raises(KeyboardInterrupt):
        alone.serve("a.module:Service", listener)


def test_what_the_service_says_is_wrong_is_one_line(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> None:
        raise SystemExit("sightline: rollout.toml is wrong")

    does(monkeypatch, wrong)
    with pytest.raises(SettingsError, match=r"^rollout.toml is wrong$"):
        alone.serve("a.module:Service", listener)
