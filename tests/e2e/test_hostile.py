"""Thousands of bodies that mean no good: the server answers each, and goes on answering the others."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from load_tests.hostile import KINDS, Attack, attacks, lying_header, png_bomb
from tests.e2e.servers import Server
from tests.service.pictures import jpeg
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.e2e

PREDICT = f"/v1/models/{COLOUR}/predict"


def resident_bytes(server: Server) -> int:
    (pid,) = [p for p in server.process_ids()[1:] if "openvino" in Path(f"/proc/{p}/maps").read_text()]
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_no_hostile_body_is_more_than_the_clients_fault_and_none_stays_in_memory(server: Server) -> None:
    with httpx.Client(base_url=server.url, timeout=20) as client, ThreadPoolExecutor(8) as callers:

        def ask(attack: Attack) -> tuple[str, int]:
            answer = client.post(PREDICT, content=attack.body, headers={"content-type": attack.media_type})
            assert "0x7f" not in answer.text
            return attack.name, answer.status_code

        list(callers.map(ask, attacks(seed=0, count=200)))
        before = resident_bytes(server)
        answered = Counter(callers.map(ask, attacks(seed=1, count=1_500)))
    assert {status for _, status in answered} <= {200, 400, 413, 415, 422, 429}, answered
    assert len({name.split()[0] for name, _ in answered}) >= len(KINDS) - 1
    assert resident_bytes(server) - before < 50_000_000
    assert httpx.post(server.url + PREDICT, content=jpeg()).status_code == 200
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("body", [lying_header(), png_bomb()], ids=["lying header", "bomb"])
def test_pictures_that_claim_too_much_are_refused_without_being_unfolded(server: Server, body: bytes) -> None:
    before = resident_bytes(server)
    answer = httpx.post(server.url + PREDICT, content=body)
    assert (answer.status_code, answer.json()["code"]) == (413, "too-many-pixels")
    assert resident_bytes(server) - before < 50_000_000
