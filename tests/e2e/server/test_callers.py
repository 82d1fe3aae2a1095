"""Callers who send no more, who leave, who send far ahead, and whose pictures take long: each gets what is due."""

from __future__ import annotations

import io
import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.e2e.servers import Server, serving, wait_until
from tests.service.pictures import jpeg, slow_to_decode
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.e2e

PREDICT = f"/v1/models/{COLOUR}/predict"
RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # of SO_LINGER


def connected(server: Server) -> socket.socket:
    address = httpx.URL(server.url)
    return socket.create_connection((address.host, address.port or 80), timeout=40)


def post(body: bytes, version: str = "1.1") -> bytes:
    return b"POST %b HTTP/%b\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (
        PREDICT.encode(),
        version.encode(),
        len(body),
        body,
    )


GET = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"


def statuses(caller: socket.socket) -> list[bytes]:
    """Of everything that is answered until the server closes."""
    answer = b"".join(iter(lambda: caller.recv(65_536), b""))
    return re.findall(rb"HTTP/1\.1 (\d+)", answer)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param([GET], id="a question"),
        pytest.param([post(jpeg())], id="a thumbnail"),
        pytest.param([post(jpeg(900, 700))], id="a photo"),
        pytest.param([post(jpeg(900, 700))[:90], post(jpeg(900, 700))[90:]], id="a photo in two parts"),
        pytest.param([post(jpeg(), "1.0")], id="in HTTP/1.0"),
        pytest.param([GET + post(jpeg(900, 700)) + GET], id="three sent ahead"),
    ],
)
def test_who_sends_no_more_gets_the_answers_and_then_the_end(server: Server, sent: list[bytes]) -> None:
    requests = b"".join(sent).count(b"HTTP/1.")
    with connected(server) as caller:
        for part in sent:
            caller.sendall(part)
        caller.shutdown(socket.SHUT_WR)
        assert statuses(caller) == [b"200"] * requests


def test_who_sends_no_more_and_waits_for_long_is_answered_too(server: Server) -> None:
    """After a response that only asks whether he is still there."""
    with connected(server) as caller:
        caller.sendall(post(slow_to_decode()))
        caller.shutdown(socket.SHUT_WR)
        assert statuses(caller)[-1:] == [b"200"]


def test_who_sends_no_more_in_the_middle_of_a_request_is_let_go(server: Server) -> None:
    for part in (post(jpeg())[:-5], GET[:-5], b""):
        with connected(server) as caller:
            caller.sendall(part)
            caller.shutdown(socket.SHUT_WR)
            assert statuses(caller) == []


def test_two_hundred_connections_that_sent_ahead_and_are_reset_leave_no_traceback(server: Server) -> None:
    logged = server.log.stat().st_size
    for number in range(200):
        with connected(server) as caller:
            caller.sendall((GET + post(jpeg(seed=number % 5)) + post(jpeg(400, 300))) * 5)
            if number % 2:
                caller.recv(1)  # an answer is on its way
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
    assert httpx.post(server.url + PREDICT, content=jpeg()).status_code == 200
    log = server.log.read_bytes()[logged:].decode()
    assert "Traceback" not in log
    assert "Exception" not in log


@pytest.fixture(scope="module")
def hurried(tiny_models_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that gives a head less time than a request, and both less than a large picture takes."""
    settings = {"HEADER_TIMEOUT_MS": "150", "REQUEST_TIMEOUT_MS": "300"}
    environ = {"SIGHTLINE_MODELS": str(tiny_models_root)} | {f"SIGHTLINE_{name}": ms for name, ms in settings.items()}
    with serving(tmp_path_factory.mktemp("hurried"), environ=environ) as server:
        wait_until(server, "/readyz", 200)
        yield server


@pytest.fixture(scope="module")
def large() -> bytes:
    """49 megapixels in some 200 kB, so that one read may take it whole."""
    out = io.BytesIO()
    Image.new("L", (7_000, 7_000)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_a_picture_that_takes_longer_than_its_request_may_is_504_and_nothing_is_cut_off(
    hurried: Server, large: bytes, parts: int
) -> None:
    request = post(large)
    head = request.index(b"\r\n\r\n") + 4
    cuts = {1: [], 2: [head], 3: [head, head + 1_000]}[parts]
    with connected(hurried) as caller:
        for begin, end in zip([0, *cuts], [*cuts, len(request)], strict=True):
            caller.sendall(request[begin:end])
        answer = caller.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 504"), answer
        assert b"x-error-code: deadline-passed" in answer.lower()
        caller.sendall(GET)
        assert caller.recv(65_536).startswith(b"HTTP/1.1 200")
