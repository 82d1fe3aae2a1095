"""`service.server.workers`: commands for the supervisor come by a private folder, or nothing starts."""

from __future__ import annotations

import tempfile
from types import SimpleNamespace
from typing import Any

import pytest
from bentoml._internal.container import BentoMLContainer
from bentoml._internal.utils import circus

from service.errors import SettingsError
from service.server.workers import check_there_is_one, close_control_port


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circus, "Arbiter", circus.Arbiter)


def test_the_supervisor_takes_commands_in_a_folder_and_not_on_ports() -> None:
    close_control_port()
    arbiter: Any = circus.create_standalone_arbiter([])
    with arbiter.exit_stack:
        assert arbiter.endpoint.startswith("ipc://")
        assert arbiter.pubsub_endpoint.startswith("ipc://")


def test_a_bentoml_that_starts_it_otherwise_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circus, "create_standalone_arbiter", lambda watchers: None)
    with pytest.raises(SettingsError, match="install the locked versions"):
        close_control_port()


def test_a_folder_too_long_for_a_socket_stops_the_start_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/" + "x" * 100)
    with pytest.raises(SettingsError, match=r"TMPDIR=/xxx.* expected a shorter path"):
        close_control_port()


@pytest.mark.parametrize("workers", [None, 1])
def test_one_worker_is_right(monkeypatch: pytest.MonkeyPatch, workers: int | None) -> None:
    configure(monkeypatch, workers)
    check_there_is_one("sightline")


@pytest.mark.parametrize("workers", [2, "cpu_count"])
def test_more_workers_stop_the_start_and_the_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, workers: int | str
) -> None:
    configure(monkeypatch, workers)
    with pytest.raises(SettingsError, match=f"sets services.sightline.workers to {workers!r}; expected 1"):
        check_there_is_one("sightline")


def configure(monkeypatch: pytest.MonkeyPatch, workers: int | str | None) -> None:
    """What a configuration file of BentoML's would say."""
    services = {"sightline": {"workers": SimpleNamespace(get=lambda: workers)}}
    monkeypatch.setattr(BentoMLContainer, "config", SimpleNamespace(services=services))
