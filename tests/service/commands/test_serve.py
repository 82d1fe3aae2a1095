"""`sightline serve`: what it starts, and what it says where nothing can be started."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from classifier.commands.cli import main
from service.server.supervisor import alone

ROOT = Path(__file__).parents[3]
EVERYWHERE = "0.0.0.0"  # noqa: S104


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, str]]]:
    """The programs that were to take this process's place: their words and their environment."""
    programs: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda _, words, environ: programs.append((words, environ)))
    monkeypatch.delenv("SIGHTLINE_MODELS", raising=False)
    return programs


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, socket.socket]]:
    """What was to be served in this process, and on which sockets. The environment and the folder are put back."""
    every: list[tuple[str, socket.socket]] = []
    monkeypatch.setattr(alone, "serve", lambda service, listener: every.append((service, listener)))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("SIGHTLINE_MODELS", raising=False)
    return every


@pytest.fixture(params=["127.0.0.1", "::1"])
def taken(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """An address that somebody listens on."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((request.param, 0))
        listener.listen()
        yield request.param, listener.getsockname()[1]


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def test_it_becomes_the_server_that_bentoml_starts(started: Any, tmp_path: Path) -> None:
    port = free_port()
    assert main(["serve", "--host", "localhost", "--port", port, "--models", str(tmp_path)]) == 0
    ((words, environ),) = started
    assert words[:5] == [sys.executable, "-m", "bentoml", "serve", "service.app:Sightline"]
    assert words[5:] == ["--working-dir", str(ROOT), "--host", words[8], "--port", port]
    assert words[8] in ("127.0.0.1", "::1")
    assert environ["SIGHTLINE_MODELS"] == str(tmp_path)
    assert environ["BENTOML_DO_NOT_TRACK"] == "True"


def test_without_a_supervisor_this_process_serves_on_a_socket_that_listens(
    served: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGHTLINE_ALLOW_ANONYMOUS", "true")
    port = free_port()
    assert main(["serve", "--no-supervisor", "--port", port, "--host", EVERYWHERE]) == 0
    ((service, listener),) = served
    assert service == "service.app:Sightline"
    with listener:
        assert listener.getsockname() == (EVERYWHERE, int(port))
        with socket.create_connection(("127.0.0.1", int(port)), timeout=5):
            pass
    assert Path.cwd() == ROOT  # where BentoML looks for the service
    assert os.environ["SIGHTLINE_MODELS"] == str(ROOT / "models")
    assert os.environ["BENTOML_DO_NOT_TRACK"] == "True"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        pytest.param("SIGHTLINE_ALLOW_ANONYMOUS", "", "and there are no API keys", id="nobody could be let in"),
        pytest.param("SIGHTLINE_STREAMS", "many", "SIGHTLINE_STREAMS", id="a wrong setting"),
    ],
)
def test_without_a_supervisor_what_is_wrong_is_said_before_the_start(
    variable: str, value: str, said: str, served: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    assert main(["serve", "--no-supervisor", "--port", free_port(), "--host", EVERYWHERE]) == 1
    assert said in capsys.readouterr().err
    assert not served


def test_the_models_are_those_of_the_setting_else_those_here(started: Any, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    main(["serve", "--port", free_port()])
    monkeypatch.setenv("SIGHTLINE_MODELS", "/elsewhere")
    main(["serve", "--port", free_port()])
    assert [environ["SIGHTLINE_MODELS"] for _, environ in started] == [str(tmp_path / "models"), "/elsewhere"]


@pytest.mark.parametrize("form", ["{}", "[{}]"])
def test_a_port_in_use_is_one_line(form: str, taken: tuple[str, int], started: Any, capsys: Any) -> None:
    host, port = form.format(taken[0]), taken[1]
    assert main(["serve", "--host", host, "--port", str(port)]) == 1
    said = f"error: {host} port {port}: Address already in use; choose another with --port\n"
    assert capsys.readouterr().err == said
    assert not started


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--host", "192.0.2.1"], 1, "Cannot assign requested address; choose another with --host"),
        (["--host", "not a host"], 1, "'not a host' is no address of a host: "),
        (["--port", "0"], 2, "expected a whole number from 1 to 65535, got '0'"),
        (["--port", "65536"], 2, "expected a whole number from 1 to 65535, got '65536'"),
    ],
    ids=["not ours", "no host", "port 0", "port 65536"],
)
def test_an_address_that_cannot_be_is_one_line(words: list[str], code: int, said: str, started: Any, capsys: Any):
    assert main(["serve", *words]) == code
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not started


def test_servers_share_a_port_where_each_of_them_says_so(served: Any, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    alone_on_it = ["serve", "--no-supervisor", "--port", port]
    for _ in range(2):
        assert main([*alone_on_it, "--share-port"]) == 0
        os.chdir(ROOT)
    assert main(alone_on_it) == 1
    assert "choose another with --port" in capsys.readouterr().err
    for _, listener in served:
        assert listener.getsockname()[1] == int(port)
        listener.close()


def test_a_port_is_shared_by_servers_without_a_supervisor_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--share-port"]) == 2
    assert "--share-port goes with --no-supervisor" in capsys.readouterr().err
