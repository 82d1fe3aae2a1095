"""The process that watches the server: nobody else may command it, and its worker ends with it."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.e2e.servers import Server, serving, wait_until

pytestmark = pytest.mark.e2e


@pytest.fixture(autouse=True)
def hang_ups_are_not_ignored() -> Iterator[None]:
    """The tests may run below nohup, and a server that starts there goes on after a hang-up."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def own_server(tiny_models_root: Path, tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    """A ready server, and the folder of its temporary files."""
    temporary = Path("/tmp") / f"sl-{os.getpid()}"  # noqa: S108 (pytest's own may be too long for a socket)
    temporary.mkdir()
    environ = {"SIGHTLINE_MODELS": str(tiny_models_root), "SIGHTLINE_PRECISION": "float32", "TMPDIR": str(temporary)}
    try:
        with serving(tmp_path / "bentoml", environ=environ) as server:
            wait_until(server, "/readyz", 200)
            yield server, temporary
    finally:
        for left in sorted(temporary.rglob("*"), reverse=True):
            left.rmdir() if left.is_dir() else left.unlink()
        temporary.rmdir()


def listening_ports(process_ids: list[int]) -> set[int]:
    found = (psutil.Process(process_id).net_connections("tcp") for process_id in process_ids)
    return {one.laddr.port for connections in found for one in connections if one.status == psutil.CONN_LISTEN}


def test_the_port_that_was_asked_for_is_the_only_one_and_commands_come_by_a_private_folder(
    own_server: tuple[Server, Path],
) -> None:
    server, temporary = own_server
    assert listening_ports(server.process_ids()) == {httpx.URL(server.url).port}
    (control,) = temporary.glob("sightline-*/control")
    assert stat.S_ISSOCK(control.stat().st_mode)
    assert stat.S_IMODE(control.parent.stat().st_mode) == 0o700
    assert server.stop() == 0
    assert not list(temporary.glob("sightline-*"))


def test_a_supervisor_that_is_killed_leaves_nobody_who_holds_the_port(own_server: tuple[Server, Path]) -> None:
    server, _ = own_server
    processes = [psutil.Process(process_id) for process_id in server.process_ids()]
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait(30)
    ends = time.monotonic() + 40
    while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes):
        assert time.monotonic() < ends, "the worker outlived its supervisor"
        time.sleep(0.1)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/livez")


def test_a_terminal_that_hangs_up_ends_the_server_and_all_its_processes(own_server: tuple[Server, Path]) -> None:
    server, _ = own_server
    processes = [psutil.Process(process_id) for process_id in server.process_ids()]
    for process in processes:  # a terminal's signal is for all of them
        process.send_signal(signal.SIGHUP)
    assert server.process.wait(30) == 0
    assert not [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert "SIGHUP: shutting down" in server.log.read_text()


def test_after_nohup_a_server_outlives_its_terminal(tiny_models_root: Path, tmp_path: Path) -> None:
    code = (
        "import runpy, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        "sys.argv = ['bentoml', *sys.argv[1:]]; runpy.run_module('bentoml', run_name='__main__')"
    )
    environ = {"SIGHTLINE_MODELS": str(tiny_models_root)}
    with serving(tmp_path / "bentoml", environ=environ, python=("-c", code)) as server:
        wait_until(server, "/readyz", 200)
        before = server.process_ids()
        for process_id in before:
            os.kill(process_id, signal.SIGHUP)
        time.sleep(1)
        wait_until(server, "/readyz", 200)
        assert server.process_ids() == before
