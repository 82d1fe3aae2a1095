from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.servers import ENGINE, Server, serving, wait_until


@pytest.fixture(scope="session")
def server(tiny_models_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A ready server with the tiny models, in float32; on the engine that E2E_ENGINE names, where it is set."""
    environ = {"SIGHTLINE_MODELS": str(tiny_models_root), "SIGHTLINE_PRECISION": "float32"}
    environ["SIGHTLINE_ENGINE"] = ENGINE
    with serving(tmp_path_factory.mktemp("bentoml"), environ=environ) as server:
        wait_until(server, "/readyz", 200)
        yield server
