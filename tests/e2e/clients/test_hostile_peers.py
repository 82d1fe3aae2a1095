"""The Python client against servers and proxies of sockets that drip, stall, never end or are not there."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from service.client import AsyncClient, Client, ClientError, ConnectionFailed, TimedOut, UnexpectedAnswer

pytestmark = pytest.mark.e2e

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ANSWER = b'{"model": "m", "version": 1, "predictions": [{"label": "cat", "probability": 1.0}]}'
TIMEOUT_S = 0.7  # each peer would go on for ever
DRIP_S = 0.05

Handle = Callable[[socket.socket, threading.Event], None]
Ask = Callable[..., Any]


def drip(connection: socket.socket, stopped: threading.Event, parts: Iterator[bytes], every_s: float = DRIP_S) -> None:
    for part in parts:
        if stopped.wait(every_s):
            return
        connection.sendall(part)


def for_ever(part: bytes, first: bytes = b"") -> Iterator[bytes]:
    yield first
    while True:
        yield part


@contextmanager
def peer(handle: Handle) -> Iterator[str]:
    """The host and port of a server that gives each connection to `handle`."""
    stopped = threading.Event()
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            handle(connection, stopped)

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                threads.append(threading.Thread(target=serve, args=(listener.accept()[0],)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept, args=(listener,))
        accepting.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            stopped.set()
            listener.shutdown(socket.SHUT_RDWR)
            for thread in (accepting, *threads):
                thread.join()


def dripped_head(connection: socket.socket, stopped: threading.Event) -> None:
    drip(connection, stopped, for_ever(b"X: y\r\n", first=OK))


def dripped_body(connection: socket.socket, stopped: threading.Event) -> None:
    drip(connection, stopped, for_ever(b" ", first=OK + b"Content-Length: 1000000\r\n\r\n"))


def dripped_chunks(connection: socket.socket, stopped: threading.Event) -> None:
    drip(connection, stopped, for_ever(b"1\r\n \r\n", first=OK + b"Transfer-Encoding: chunked\r\n\r\n"))


def dripped_continue(connection: socket.socket, stopped: threading.Event) -> None:
    drip(connection, stopped, for_ever(b"HTTP/1.1 100 Continue\r\n\r\n"))


def flood_of_continue(connection: socket.socket, stopped: threading.Event) -> None:
    drip(connection, stopped, for_ever(b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000), every_s=0)


def silence(connection: socket.socket, stopped: threading.Event) -> None:
    stopped.wait()


def slow_reader(connection: socket.socket, stopped: threading.Event) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    while not stopped.wait(DRIP_S) and connection.recv(2048):
        pass


def endless_body(connection: socket.socket, stopped: threading.Event) -> None:
    connection.sendall(OK + b"\r\n")
    drip(connection, stopped, for_ever(bytes(65536)), every_s=0)


SLOW = (*(dripped_head, dripped_body, dripped_chunks, dripped_continue, flood_of_continue, silence, slow_reader),)


def ask_blocking(url: str, image: bytes = b"jpeg", **options: Any) -> None:
    with Client(url, **options) as client:
        client.predict("m", image)


def ask_async(url: str, image: bytes = b"jpeg", **options: Any) -> None:
    async def ask() -> None:
        async with AsyncClient(url, **options) as client:
            await client.predict("m", image)

    asyncio.run(ask())


@pytest.fixture(params=[ask_blocking, ask_async], ids=["Client", "AsyncClient"])
def ask(request: pytest.FixtureRequest) -> Ask:
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize("handle", SLOW, ids=lambda handle: handle.__name__)
def test_a_call_ends_with_its_deadline_whatever_drips(ask: Ask, handle: Handle) -> None:
    with peer(handle) as address, pytest.raises(TimedOut, match=r"did not answer within 0\.7 s"):
        ask(f"http://{address}", bytes(9_000_000), timeout_s=TIMEOUT_S)


@pytest.mark.parametrize("handle", [silence, slow_reader], ids=lambda handle: handle.__name__)
def test_a_handshake_of_tls_that_never_ends_ends_with_the_deadline(ask: Ask, handle: Handle) -> None:
    with peer(handle) as address, pytest.raises(TimedOut):
        ask(f"https://{address}", timeout_s=TIMEOUT_S)


def test_a_connection_that_is_not_accepted_ends_with_the_deadline(ask: Ask) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, suppress(BlockingIOError):
        waiting = [socket.socket() for _ in range(8)]  # the queue of those that nobody accepts is full then
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        with pytest.raises(TimedOut):
            ask(f"http://127.0.0.1:{full.getsockname()[1]}", timeout_s=TIMEOUT_S)
        for one in waiting:
            one.close()


def test_a_name_that_is_looked_up_for_ever_ends_with_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    found = threading.Event()

    def look_up(*_: object, **__: object) -> list[Any]:
        found.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        with pytest.raises(TimedOut):
            ask_blocking("http://sightline.example", timeout_s=TIMEOUT_S, trust_env=False)
    finally:
        found.set()


def test_an_endless_body_is_cut_off_at_the_largest_answer(ask: Ask) -> None:
    with peer(endless_body) as address, pytest.raises(UnexpectedAnswer, match="more than 10,000,000 bytes"):
        ask(f"http://{address}")


def test_after_an_answer_that_was_cut_off_the_next_one_has_a_connection_of_its_own() -> None:
    def first_endless_then_good(connection: socket.socket, stopped: threading.Event) -> None:
        connection.recv(65536)
        if not served:
            served.append(1)
            endless_body(connection, stopped)
        connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER)

    served: list[int] = []
    with peer(first_endless_then_good) as address, Client(f"http://{address}", max_connections=1) as client:
        with pytest.raises(UnexpectedAnswer):
            client.predict("m", b"jpeg")
        assert client.predict("m", b"jpeg").top.label == "cat"


VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


def proxy_that_answers(asked: list[bytes]) -> Handle:
    def handle(connection: socket.socket, _: threading.Event) -> None:
        asked.append(connection.recv(65536))
        connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER)

    return handle


def test_a_proxy_of_the_environment_or_the_argument_is_asked_in_the_server_s_place(
    ask: Ask, bare: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []
    with peer(proxy_that_answers(asked)) as address:
        ask("http://sightline.example:3000", proxy=f"http://me:secret@{address}")
        bare.setenv("http_proxy", f"http://{address}")
        ask("http://sightline.example:3000")
    assert [head.split(b"\r\n")[0].split()[1] for head in asked] == [
        b"http://sightline.example:3000/v1/models/m/predict"
    ] * 2
    assert b"Proxy-Authorization: Basic bWU6c2VjcmV0" in asked[0]


def test_this_machine_is_never_asked_by_a_proxy(ask: Ask, bare: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    with peer(proxy_that_answers(asked)) as address:
        for name in ("http_proxy", "all_proxy"):
            bare.setenv(name, "http://127.0.0.1:9")
        ask(f"http://{address}")
        ask(f"http://localhost:{address.rpartition(':')[2]}", proxy="http://127.0.0.1:9")
    assert [head.split()[1] for head in asked] == [b"/v1/models/m/predict"] * 2


def test_a_proxy_that_is_not_there_is_named_with_its_variable(ask: Ask, bare: pytest.MonkeyPatch) -> None:
    bare.setenv("HTTP_PROXY", "http://me:secret@127.0.0.1:9")
    named = r"sightline\.example cannot be reached by the proxy http://127\.0\.0\.1:9 of HTTP_PROXY: .*trust_env=False"
    with pytest.raises(ConnectionFailed, match=named) as failed:
        ask("http://sightline.example", retries=0)
    assert "secret" not in str(failed.value)


@pytest.mark.parametrize("status", [b"403 Forbidden", b"407 Proxy Authentication Required", b"502 Bad Gateway"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_refuses_is_named(ask: Ask, bare: pytest.MonkeyPatch, status: bytes, scheme: str) -> None:
    def refuse(connection: socket.socket, _: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % status)

    with peer(refuse) as address:
        bare.setenv("ALL_PROXY", f"http://{address}")
        with pytest.raises(ClientError, match=r"by the proxy .* of ALL_PROXY") as failed:
            ask(f"{scheme}://sightline.example", retries=0)
    assert status[:3].decode() in str(failed.value)


def test_a_proxy_that_drips_its_consent_ends_with_the_deadline(ask: Ask, bare: pytest.MonkeyPatch) -> None:
    with peer(dripped_head) as address, pytest.raises(TimedOut, match=r"the proxy .* of the argument proxy"):
        ask("https://sightline.example", timeout_s=TIMEOUT_S, proxy=f"http://{address}")


@pytest.mark.parametrize("then", ["drips", "answers"])
def test_tls_inside_the_tls_of_a_proxy_keeps_to_the_deadline_too(
    ask: Ask, bare: pytest.MonkeyPatch, tmp_path: Path, then: str
) -> None:
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def tunnel(connection: socket.socket, stopped: threading.Event) -> None:
        with context.wrap_socket(connection, server_side=True) as encrypted:
            encrypted.recv(65536)
            encrypted.sendall(b"HTTP/1.1 200 Go on\r\n\r\n")
            record = b"\x16\x03\x03\x40\x00"  # announces 16 kB of a handshake
            if then == "drips":
                drip(encrypted, stopped, for_ever(b"\x02", first=record))
            encrypted.sendall(OK)  # where a handshake should be

    bare.setenv("SSL_CERT_FILE", str(certificate))
    kind, says = (TimedOut, "0.7 s") if then == "drips" else (ConnectionFailed, "SSL")
    with peer(tunnel) as address, pytest.raises(kind, match=says):
        ask("https://sightline.example", timeout_s=TIMEOUT_S, retries=0, proxy=f"https://{address}")


def test_a_certificate_of_an_authority_that_nobody_knows_names_the_variable(
    ask: Ask, bare: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def serve(connection: socket.socket, _: threading.Event) -> None:
        with context.wrap_socket(connection, server_side=True) as encrypted:
            encrypted.recv(65536)
            encrypted.sendall(OK + b"Content-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER)
            while encrypted.recv(65536):  # closing before the whole request is read would reset the connection
                pass

    with peer(serve) as address:
        with pytest.raises(ConnectionFailed, match=r"CERTIFICATE_VERIFY_FAILED.*SSL_CERT_FILE"):
            ask(f"https://{address}", retries=0)
        bare.setenv("SSL_CERT_FILE", str(certificate))
        ask(f"https://{address}", retries=0)
        with pytest.raises(ConnectionFailed, match="CERTIFICATE_VERIFY_FAILED"):
            ask(f"https://{address}", retries=0, trust_env=False)


def self_signed(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    made = ["openssl", *words.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run(made, check=True, capture_output=True)
    return certificate, key
