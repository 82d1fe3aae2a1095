from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.systemd import notify, report

pytestmark = pytest.mark.anyio


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
    """Where systemd would listen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(5)
        yield listener


def environ(heard: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": heard.getsockname()} | more


async def test_systemd_hears_that_the_server_is_ready_and_not_before(heard: socket.socket) -> None:
    ready = False
    reporting = asyncio.create_task(report(lambda: ready, lambda: True, environ(heard)))
    await asyncio.sleep(0.2)
    heard.setblocking(False)
    with pytest.raises(BlockingIOError):
        heard.recv(100)
    ready = True
    await reporting
    assert heard.recv(100) == b"READY=1"


async def test_the_watchdog_is_fed_while_the_server_lives(heard: socket.socket) -> None:
    lives = iter([True, True, False])
    await report(lambda: True, lambda: next(lives), environ(heard, WATCHDOG_USEC="2000"))
    assert [heard.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
    heard.setblocking(False)
    with pytest.raises(BlockingIOError):
        heard.recv(100)


async def test_a_socket_without_a_file_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0sightline-test")
        listener.settimeout(5)
        notify("STOPPING=1", {"NOTIFY_SOCKET": "@sightline-test"})
        assert listener.recv(100) == b"STOPPING=1"


async def test_without_systemd_nothing_happens(tmp_path: Path) -> None:
    await report(lambda: False, lambda: True, {})
    notify("READY=1", {})
    notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    notify("READY=1", {"NOTIFY_SOCKET": "vsock:2:1"})
