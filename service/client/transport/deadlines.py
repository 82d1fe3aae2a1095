"""The end of a request's time, and sockets that keep to it however slowly the other side drips.

httpx's timeouts begin anew with every read. It hands them down to the socket as they are. So a timeout that knows its
own end bounds all reads and writes of a request together.
"""

# ruff: noqa: ASYNC109  # httpcore gives its steps a timeout, and names it so
from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

import httpcore
import httpx


class Deadline(float):
    """Seconds that were left when it was made, for who takes it as a number; `left_s` says what is left now."""

    _clock: Callable[[], float]
    _until_s: float

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float]) -> Deadline:
        deadline = cls(seconds)
        deadline._clock = clock
        deadline._until_s = clock() + seconds
        return deadline

    def left_s(self) -> float:
        """Seconds, above 0. Raises httpx.TimeoutException where none are left."""
        left_s = self._until_s - self._clock()
        if left_s <= 0:
            raise httpx.ReadTimeout("the deadline has passed")
        return left_s

    def bound(self, request: httpx.Request) -> None:
        """Let the steps of a request end with it."""
        request.extensions["timeout"] = {"connect": self, "read": self, "write": self, "pool": self}


class PunctualBackend(httpcore.NetworkBackend):
    """Opens TCP connections whose steps end with the `Deadline` that is given to them as their timeout."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        def connect() -> httpcore.NetworkStream:
            return httpcore.SyncBackend().connect_tcp(host, port, _left_s(timeout), local_address, socket_options)

        return _PunctualStream(_within(timeout, connect))


class _PunctualStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left_s(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        sock = self._stream.get_extra_info("socket")
        unsent = memoryview(buffer)
        try:
            while unsent:
                sock.settimeout(_left_s(timeout))
                unsent = unsent[sock.send(unsent) :]
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        if self._stream.get_extra_info("ssl_object") is None:
            return _PunctualStream(self._stream.start_tls(ssl_context, server_hostname, _left_s(timeout)))
        with _cut_off(self._stream, timeout):
            return _TunnelStream(self._stream.start_tls(ssl_context, server_hostname, _left_s(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _TunnelStream(_PunctualStream):
    """TLS inside the TLS of a proxy. httpcore's own, which waits anew for each piece of a record: it is cut off."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _cut_off(self._stream, timeout):
            return self._stream.read(max_bytes, _left_s(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with _cut_off(self._stream, timeout):
            self._stream.write(buffer, _left_s(timeout))


@contextmanager
def _cut_off(stream: httpcore.NetworkStream, timeout: float | None) -> Iterator[None]:
    """Close a stream's socket when the time is up, and say that it was."""
    left_s = _left_s(timeout)
    timer = threading.Timer(left_s or threading.TIMEOUT_MAX, _shut, (stream.get_extra_info("socket"),))
    timer.start()
    try:
        yield
    except Exception:
        _left_s(timeout)  # which raises where the time is up
        raise
    finally:
        timer.cancel()


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):  # it may be closed by now
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # the one of TLS would forget that it is encrypted


class TidyBackend(httpcore.AsyncNetworkBackend):
    """Opens TCP connections of asyncio that are closed when their handshake is cancelled, as httpcore's own are not."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        backend = httpcore.AnyIOBackend()
        return _TidyStream(await backend.connect_tcp(host, port, timeout, local_address, socket_options))


class _TidyStream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        try:
            return _TidyStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))
        except BaseException:
            await self._stream.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left_s(timeout: float | None) -> float | None:
    return timeout.left_s() if isinstance(timeout, Deadline) else timeout


def _within(timeout: float | None, connect: Callable[[], httpcore.NetworkStream]) -> httpcore.NetworkStream:
    """What `connect` gives, in time: looking a name up has no timeout, and each of its addresses takes a whole one."""
    opened: Future[httpcore.NetworkStream] = Future()

    def work() -> None:
        try:
            stream = connect()
        except BaseException as error:
            if opened.set_running_or_notify_cancel():
                opened.set_exception(error)
        else:
            opened.set_result(stream) if opened.set_running_or_notify_cancel() else stream.close()

    threading.Thread(target=work, name="connect", daemon=True).start()  # daemon: it may outlive the caller's patience
    try:
        return opened.result(_left_s(timeout))
    except TimeoutError as error:
        if opened.cancel():
            raise httpcore.ConnectTimeout("no connection in time") from error
        return opened.result()
