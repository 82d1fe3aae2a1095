from __future__ import annotations

import pytest

from tests.deploy.containers.answers import answers
from tests.e2e.bentos import Bento, shipped
from tests.e2e.servers import serving, wait_until


@pytest.fixture(scope="module")
def bento(tmp_path_factory: pytest.TempPathFactory) -> Bento:
    return shipped(tmp_path_factory)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[object]]:
    """What a server of the checkout says of every picture."""
    with serving(tmp_path_factory.mktemp("checkout")) as server:
        wait_until(server, "/readyz", 200, timeout_s=300)
        return answers(server.url)
