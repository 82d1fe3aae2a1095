from __future__ import annotations

from typing import Any, Literal

import pytest

from service.inference.catalog import Catalog
from service.inference.rollout.split import Split, position
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.anyio

CLIENTS = [f"10.0.{n // 256}.{n % 256}" for n in range(2_000)]


@pytest.fixture
def canary(catalog: Catalog) -> Any:
    return catalog.find(COLOUR, 2)


def split(canary: Any, weight: float, sticky: Literal["key", "client", "off"] = "key") -> Split:
    return Split(canary, weight, sticky)


async def test_about_the_share_of_clients_that_the_weight_says_goes_to_the_canary(canary: Any) -> None:
    for weight in (0.0, 0.1, 0.5, 1.0):
        took = sum(split(canary, weight).takes(b"", client) for client in CLIENTS) / len(CLIENTS)
        assert abs(took - weight) < 0.04


async def test_a_client_goes_the_same_way_each_time_and_stays_when_the_weight_grows(canary: Any) -> None:
    few, many = split(canary, 0.1), split(canary, 0.3)
    chosen = [client for client in CLIENTS if few.takes(b"", client)]
    assert all(few.takes(b"", client) and many.takes(b"", client) for client in chosen)


async def test_a_key_decides_where_there_is_one_and_it_is_to(canary: Any) -> None:
    by_key = {split(canary, 0.5).takes(b"somebody", client) for client in CLIENTS}
    assert len(by_key) == 1
    by_client = {split(canary, 0.5, "client").takes(b"somebody", client) for client in CLIENTS}
    assert by_client == {True, False}


async def test_without_stickiness_each_request_is_drawn(canary: Any) -> None:
    drawn = [split(canary, 0.5, "off").takes(b"somebody", "10.0.0.1") for _ in range(500)]
    assert 150 < sum(drawn) < 350


async def test_a_canary_that_is_being_mended_takes_nothing(canary: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "reason", "its engine failed and is being loaded anew")
    assert not split(canary, 1.0).takes(b"", "10.0.0.1")


def test_models_draw_other_callers() -> None:
    assert position("asl", b"somebody") != position("cifar-10", b"somebody")
