from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Iterator

import click
import pytest
import uvicorn
import uvicorn.config

from service.errors import SettingsError
from service.server.context import ServerContext
from service.server.fast_path import FastPathProtocol
from service.server.startup import check_port, host_to_bind, install, leave, log_beside_bentoml, running_server
from service.settings import Settings
from tests.e2e.servers import free_port
from tests.service.server.contexts import plain_context
from tests.service.server.test_protocol import respond


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(uvicorn.config, "HTTP_PROTOCOLS", dict(uvicorn.config.HTTP_PROTOCOLS))
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def context() -> ServerContext:
    return plain_context(Settings(max_connections=50))


def serving(config: uvicorn.Config) -> uvicorn.Server:
    """A server that has got as far as to load its app and to take signals."""
    config.load()
    server = uvicorn.Server(config)
    signal.signal(signal.SIGTERM, server.handle_exit)
    return server


@pytest.mark.anyio
async def test_installing_makes_ours_the_protocol_of_every_uvicorn(context: ServerContext) -> None:
    install(context)
    server = serving(uvicorn.Config(respond))
    made = server.config.http_protocol_class(  # type: ignore[call-arg]
        config=server.config, server_state=server.server_state, app_state={}
    )
    assert isinstance(made, FastPathProtocol)
    assert made.context is context
    assert running_server(context) is server


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_a_uvicorn_of_another_protocol_is_refused(
    context: ServerContext, http: uvicorn.config.HTTPProtocolType
) -> None:
    install(context)
    serving(uvicorn.Config(respond, http=http))
    with pytest.raises(SettingsError, match=r"without our limits; start it with `bentoml serve"):
        running_server(context)


def test_a_uvicorn_that_was_configured_before_us_is_refused(context: ServerContext) -> None:
    serving(uvicorn.Config(respond))
    install(context)
    with pytest.raises(SettingsError, match="without our limits"):
        running_server(context)


def test_the_protocol_of_another_context_is_refused(context: ServerContext) -> None:
    install(plain_context(Settings()))
    serving(uvicorn.Config(respond))
    with pytest.raises(SettingsError, match="without our limits"):
        running_server(context)


def test_another_server_is_refused(context: ServerContext) -> None:
    install(context)
    with pytest.raises(SettingsError, match="no uvicorn serves this process"):
        running_server(context)


@pytest.mark.parametrize(
    ("given", "host"),
    [({"host": "10.0.0.1"}, "10.0.0.1"), ({"host": "", "development": True}, "127.0.0.1"), ({}, None)],
    ids=["as said", "for development", "another command"],
)
def test_the_address_is_that_of_the_command_line(given: dict[str, object], host: str | None) -> None:
    command = click.Context(click.Command("serve"))
    command.params = given
    with command:
        assert host_to_bind() == host


def test_without_a_command_line_there_is_no_address_to_look_at() -> None:
    assert host_to_bind() is None


def test_a_port_in_use_is_one_line_that_says_what_to_do() -> None:
    with socket.socket() as taken, click.Context(click.Command("serve")) as context:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        context.params = {"host": "127.0.0.1", "port": port}
        with pytest.raises(SettingsError, match=rf"127\.0\.0\.1 port {port}: Address already in use; .* --port"):
            check_port("127.0.0.1")


def test_a_free_port_is_no_fault() -> None:
    with click.Context(click.Command("serve")) as context:
        context.params = {"host": "127.0.0.1", "port": free_port()}
        check_port("127.0.0.1")


def test_leaving_ends_the_process_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def end(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", end)
    with pytest.raises(SystemExit) as ended:
        leave(SettingsError("no such folder"))
    assert (ended.value.code, capsys.readouterr().err) == (1, "sightline: no such folder\n")


@pytest.fixture
def loggers() -> Iterator[tuple[logging.Logger, logging.Logger]]:
    """Ours and BentoML's, left as they were."""
    both = logging.getLogger("service"), logging.getLogger("bentoml")
    before = [(one.handlers, one.propagate, one.level) for one in both]
    yield both
    for one, (handlers, propagate, level) in zip(both, before, strict=True):
        one.handlers, one.propagate = handlers, propagate
        one.setLevel(level)


def test_our_log_lines_go_where_bentomls_go_and_from_the_same_level_on(
    loggers: tuple[logging.Logger, logging.Logger],
) -> None:
    ours, theirs = loggers
    theirs.handlers = [logging.NullHandler()]
    theirs.setLevel(logging.ERROR)
    log_beside_bentoml()
    assert (ours.handlers, ours.propagate, ours.level) == (theirs.handlers, False, logging.ERROR)
