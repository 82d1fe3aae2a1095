"""A network in memory, in place of the sockets that httpcore opens."""

# ruff: noqa: ASYNC109  # httpcore gives its steps a timeout, and names it so
from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpcore
import pytest


class Network:
    """All connections of a test: whom they were opened to, what was sent on them, and what comes back, part by part."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.opened_to: list[tuple[str, int]] = []
        self.timeouts: list[float | None] = []  # of each step, as the step got it
        self.sent = bytearray()
        self.most_sent_at_once = 65536
        self.handshakes = 0
        self.was_closed = threading.Event()
        self.before_opening: Callable[[], object] = lambda: None
        self.before_reading: Callable[[], object] = lambda: None
        self.before_sending: Callable[[], object] = lambda: None
        self.before_handshake: Callable[[], object] = lambda: None

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have httpcore's own ways to open a connection lead here."""
        monkeypatch.setattr(httpcore, "SyncBackend", lambda: _Backend(self))
        monkeypatch.setattr(httpcore, "AnyIOBackend", lambda: _AsyncBackend(self))

    def open(self, host: str, port: int, timeout: float | None) -> None:
        self.timeouts.append(timeout)
        self.before_opening()
        self.opened_to.append((host, port))

    def read(self, timeout: float | None) -> bytes:
        self.timeouts.append(timeout)
        self.before_reading()
        return self.parts.pop(0) if self.parts else b""

    def send(self, data: bytes) -> int:
        self.before_sending()
        self.sent += data[: self.most_sent_at_once]
        return min(len(data), self.most_sent_at_once)

    def shake_hands(self, timeout: float | None) -> None:
        self.timeouts.append(timeout)
        self.before_handshake()
        self.handshakes += 1


class Stream(httpcore.NetworkStream):
    """One connection for threads; `layers` says how often it is encrypted. It is its own socket too."""

    def __init__(self, network: Network, layers: int = 0) -> None:
        self._network = network
        self._layers = layers

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._network.read(timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.settimeout(timeout)
        while buffer:
            buffer = buffer[self.send(buffer) :]

    def close(self) -> None:
        self._network.was_closed.set()

    def start_tls(
        self, ssl_context: object, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        self._network.shake_hands(timeout)
        return Stream(self._network, self._layers + 1)

    def get_extra_info(self, info: str) -> Any:
        return {"socket": self, "ssl_object": _encryption(self._layers)}.get(info)

    def settimeout(self, timeout: float | None) -> None:
        self._network.timeouts.append(timeout)

    def send(self, data: bytes | memoryview) -> int:
        return self._network.send(bytes(data))


class AsyncStream(httpcore.AsyncNetworkStream):
    """As `Stream`, for an event loop."""

    def __init__(self, network: Network, layers: int = 0) -> None:
        self._network = network
        self._layers = layers

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._network.read(timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._network.send(buffer)

    async def aclose(self) -> None:
        self._network.was_closed.set()

    async def start_tls(
        self, ssl_context: object, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        self._network.shake_hands(timeout)
        return AsyncStream(self._network, self._layers + 1)

    def get_extra_info(self, info: str) -> Any:
        return {"ssl_object": _encryption(self._layers)}.get(info)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, network: Network) -> None:
        self._network = network

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, *_: Any) -> httpcore.NetworkStream:
        self._network.open(host, port, timeout)
        return Stream(self._network)


class _AsyncBackend(httpcore.AsyncNetworkBackend):
    def __init__(self, network: Network) -> None:
        self._network = network

    async def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *_: Any
    ) -> httpcore.AsyncNetworkStream:
        self._network.open(host, port, timeout)
        return AsyncStream(self._network)


def _encryption(layers: int) -> Any:
    return SimpleNamespace(selected_alpn_protocol=lambda: "http/1.1") if layers else None
