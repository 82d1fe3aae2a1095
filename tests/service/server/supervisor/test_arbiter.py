"""`service.server.supervisor`: commands come by a private folder, deaths are watched, or nothing starts."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from bentoml._internal.container import BentoMLContainer
from bentoml._internal.utils import circus

from service.errors import SettingsError
from service.server.supervisor.arbiter import check_there_is_one_worker, replace_arbiter


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(circus, "Arbiter", circus.Arbiter)
    numbers = (signal.SIGHUP, signal.SIGCHLD, signal.SIGQUIT, signal.SIGINT, signal.SIGTERM, signal.SIGWINCH)
    handlers = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_the_supervisor_takes_commands_in_a_folder_and_not_on_ports() -> None:
    replace_arbiter()
    arbiter: Any = circus.create_standalone_arbiter([])
    with arbiter.exit_stack:
        assert arbiter.endpoint.startswith("ipc://")
        assert arbiter.pubsub_endpoint.startswith("ipc://")


def test_a_bentoml_that_starts_it_otherwise_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circus, "create_standalone_arbiter", lambda watchers: None)
    with pytest.raises(SettingsError, match="install the locked versions"):
        replace_arbiter()


def test_a_folder_too_long_for_a_socket_stops_the_start_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/" + "x" * 100)
    with pytest.raises(SettingsError, match=r"TMPDIR=/xxx.* expected a shorter path"):
        replace_arbiter()


@pytest.mark.parametrize("workers", [None, 1])
def test_one_worker_is_right(monkeypatch: pytest.MonkeyPatch, workers: int | None) -> None:
    configure(monkeypatch, workers)
    check_there_is_one_worker("sightline")


@pytest.mark.parametrize("workers", [2, "cpu_count"])
def test_more_workers_stop_the_start_and_the_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, workers: int | str
) -> None:
    configure(monkeypatch, workers)
    with pytest.raises(SettingsError, match=f"sets services.sightline.workers to {workers!r}; expected 1"):
        check_there_is_one_worker("sightline")


def configure(monkeypatch: pytest.MonkeyPatch, workers: int | str | None) -> None:
    """What a configuration file of BentoML's would say."""
    services = {"sightline": {"workers": SimpleNamespace(get=lambda: workers)}}
    monkeypatch.setattr(BentoMLContainer, "config", SimpleNamespace(services=services))
