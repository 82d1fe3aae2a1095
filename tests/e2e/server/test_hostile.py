"""Thousands of bodies that mean no good: the server answers each, and goes on answering the others."""

from __future__ import annotations

import io
import os
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from PIL import Image

from load_tests.chaos import unfolding
from load_tests.chaos.attacks import KINDS, Attack, attacks, lying_header, png_bomb, swollen_webp
from tests.e2e.servers import LIBRARY, Server
from tests.hostile import drawn
from tests.hostile.hostile import Hostile
from tests.service.pictures import jpeg
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.e2e

PREDICT = f"/v1/models/{COLOUR}/predict"


def worker_of(server: Server) -> int:
    (pid,) = [p for p in server.process_ids()[1:] if LIBRARY in Path(f"/proc/{p}/maps").read_text()]
    return pid


def resident_bytes(server: Server) -> int:
    return int(Path(f"/proc/{worker_of(server)}/statm").read_text().split()[1]) * 4096


@contextmanager
def peak_of(server: Server) -> Iterator[list[int]]:
    """The most bytes that the worker had resident in the block, once it is over."""
    status = Path(f"/proc/{worker_of(server)}/status")
    peak: list[int] = []
    status.with_name("clear_refs").write_text("5")  # has the kernel count the peak anew
    yield peak
    peak.append(1024 * int(status.read_text().partition("VmHWM:")[2].split()[0]))


def test_no_hostile_body_is_more_than_the_clients_fault_and_none_stays_in_memory(server: Server) -> None:
    with httpx.Client(base_url=server.url, timeout=20) as client, ThreadPoolExecutor(8) as callers:

        def ask(attack: Attack) -> tuple[str, int]:
            answer = client.post(PREDICT, content=attack.body, headers={"content-type": attack.media_type})
            assert "0x7f" not in answer.text
            return attack.name, answer.status_code

        for seed in range(100):
            assert client.post(PREDICT, content=jpeg(600, 400, seed)).status_code == 200
        before, worker = resident_bytes(server), worker_of(server)
        answered = Counter(callers.map(ask, attacks(seed=1, count=1_500)))
    assert {status for _, status in answered} <= {200, 400, 413, 415, 422, 429}, answered
    assert len({name.split()[0] for name, _ in answered}) >= len(KINDS) - 1
    assert (worker_of(server), answered.total()) == (worker, 1_500)
    assert resident_bytes(server) - before < 50_000_000
    assert httpx.post(server.url + PREDICT, content=jpeg()).status_code == 200
    assert "Traceback" not in server.log.read_text()


def test_a_picture_that_breaks_off_after_room_was_made_for_it_gives_the_room_back(server: Server) -> None:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        before = resident_bytes(server)
        answers = [client.post(PREDICT, content=swollen_webp()) for _ in range(10)]
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(422, "undecodable-image")}
    assert resident_bytes(server) - before < 50_000_000


def decode_processes(server: Server) -> list[int]:
    return [p for p in server.process_ids() if b"classifier.decode_process" in Path(f"/proc/{p}/cmdline").read_bytes()]


@contextmanager
def most_decoding(server: Server) -> Iterator[list[int]]:
    """The most bytes that all decode processes together had resident at one time in the block, looked at often."""
    done, most = threading.Event(), [0]

    def look() -> None:
        while not done.wait(0.005):
            with suppress(OSError):  # one has just ended
                most[0] = max(most[0], sum(map(resident_bytes_of, decode_processes(server))))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield most
    finally:
        done.set()
        looking.join()


def resident_bytes_of(process_id: int) -> int:
    return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_many_large_pictures_take_the_memory_of_one_beside_the_server(server: Server) -> None:
    picture = Image.new("RGBA", (4_000, 4_000))
    picture.save(out := io.BytesIO(), "WEBP", lossless=True, method=0)
    before = resident_bytes(server)
    with (
        peak_of(server) as peak,
        most_decoding(server) as most,
        httpx.Client(base_url=server.url, timeout=60) as client,
        ThreadPoolExecutor(6) as pool,
    ):
        answers = list(pool.map(lambda _: client.post(PREDICT, content=out.getvalue()).status_code, range(6)))
    assert answers == [200] * 6
    assert peak[0] - before < 50_000_000
    assert 16 * 4_000 * 4_000 * 0.5 < most[0] < 16 * 4_000 * 4_000 * 1.2 + 150_000_000


def test_hostile_pictures_disturb_no_honest_caller_and_leave_nothing(server: Server) -> None:
    with httpx.Client(base_url=server.url, timeout=40) as client, ThreadPoolExecutor(4) as callers:

        def ask(one: Hostile) -> tuple[str, str, frozenset[str]]:
            answer = client.post(PREDICT, content=one.body)
            code = "ok" if answer.status_code == 200 else answer.headers["x-error-code"]
            return one.name, code, one.codes | {"decoders-busy", "overloaded", "too-many-bytes", "deadline-passed"}

        for seed in range(20):
            assert client.post(PREDICT, content=jpeg(600, 400, seed)).status_code == 200
        before = resident_bytes(server)
        hostile = [callers.submit(ask, one) for one in drawn(seed=1, count=60) if len(one.body) < 3_000_000]
        while not all(answer.done() for answer in hostile):
            assert client.post(PREDICT, content=jpeg(600, 400)).status_code == 200
        wrong = [(name, code) for name, code, right in (answer.result() for answer in hostile) if code not in right]
    assert wrong == []
    assert resident_bytes(server) - before < 50_000_000
    assert len(decode_processes(server)) <= 2 * (os.cpu_count() or 1)
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("body", [lying_header(), png_bomb()], ids=["lying header", "bomb"])
def test_pictures_that_claim_too_much_are_refused_without_being_unfolded(server: Server, body: bytes) -> None:
    before = resident_bytes(server)
    with peak_of(server) as peak:
        answer = httpx.post(server.url + PREDICT, content=body)
    assert (answer.status_code, answer.json()["code"]) == (413, "too-many-pixels")
    assert peak[0] - before < 50_000_000


@pytest.mark.parametrize("kind", unfolding.KINDS.values(), ids=unfolding.KINDS)
def test_bodies_that_become_many_times_as_large_do_so_one_at_a_time(server: Server, kind: unfolding.Kind) -> None:
    body, path = kind.body(), kind.path.format(COLOUR)
    headers = dict(line.split(": ") for line in kind.headers.splitlines())
    with httpx.Client(base_url=server.url, timeout=40) as client, ThreadPoolExecutor(8) as callers:
        before = resident_bytes(server)
        with peak_of(server) as peak:
            answers = list(
                callers.map(lambda _: client.post(path, content=body, headers=headers).status_code, range(8))
            )
    assert set(map(str, answers)) <= unfolding.MEANT_FOR_THEM
    as_they_came = 8 * len(body)
    assert peak[0] - before < as_they_came + 150_000_000
