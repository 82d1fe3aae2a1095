"""Thousands of bodies that mean no good: the server answers each, and goes on answering the others."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from PIL import Image

from load_tests.chaos.attacks import KINDS, Attack, attacks, lying_header, png_bomb, swollen_webp
from tests.e2e.servers import Server
from tests.service.pictures import jpeg
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.e2e

PREDICT = f"/v1/models/{COLOUR}/predict"


def worker_of(server: Server) -> int:
    (pid,) = [p for p in server.process_ids()[1:] if "openvino" in Path(f"/proc/{p}/maps").read_text()]
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


def test_many_large_pictures_take_the_memory_of_one(server: Server) -> None:
    picture = Image.new("RGBA", (5_000, 5_000))
    picture.save(out := io.BytesIO(), "WEBP", lossless=True, method=0)
    before = resident_bytes(server)
    with (
        peak_of(server) as peak,
        httpx.Client(base_url=server.url, timeout=60) as client,
        ThreadPoolExecutor(6) as pool,
    ):
        answers = list(pool.map(lambda _: client.post(PREDICT, content=out.getvalue()).status_code, range(6)))
    assert answers == [200] * 6
    assert 16 * 5_000 * 5_000 * 0.5 < peak[0] - before < 16 * 5_000 * 5_000 * 1.2


@pytest.mark.parametrize("body", [lying_header(), png_bomb()], ids=["lying header", "bomb"])
def test_pictures_that_claim_too_much_are_refused_without_being_unfolded(server: Server, body: bytes) -> None:
    before = resident_bytes(server)
    with peak_of(server) as peak:
        answer = httpx.post(server.url + PREDICT, content=body)
    assert (answer.status_code, answer.json()["code"]) == (413, "too-many-pixels")
    assert peak[0] - before < 50_000_000
