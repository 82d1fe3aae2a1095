"""Clients of both kinds, whose time passes only while they sleep."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from service.client import Client
from tests.service.client.doubles import URL, Clock, Driven, Make


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["Client", "AsyncClient"])
def client_of(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Make]:
    """Makes clients of either kind for a server."""
    made: list[Any] = []

    def make(server: Any, **changes: Any) -> Any:
        options: dict[str, Any] = {"base_url": URL, "transport": httpx.MockTransport(server), "clock": clock} | changes
        blocking = request.param == "Client"
        made.append(Client(**options, sleep=clock.sleep) if blocking else Driven(**options, sleep=clock.sleep_async))
        return made[-1]

    yield make
    for client in made:
        client.close()
