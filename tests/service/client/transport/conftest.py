from __future__ import annotations

import pytest

from tests.service.client.transport.network import Network


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """What every connection leads to until the test ends."""
    network = Network()
    network.install(monkeypatch)
    return network
