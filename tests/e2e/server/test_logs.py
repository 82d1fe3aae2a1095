"""Log lines of a whole server as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.servers import serving, wait_until

pytestmark = pytest.mark.e2e


def test_every_line_of_a_server_is_json_where_that_is_asked_for(tiny_models_root: Path, tmp_path: Path) -> None:
    environ = {"SIGHTLINE_MODELS": str(tiny_models_root), "SIGHTLINE_LOG_FORMAT": "json"}
    with serving(tmp_path / "bentoml", environ=environ) as server:
        wait_until(server, "/readyz", 200)
        assert server.stop() == 0
        lines = [line for line in server.log.read_text().splitlines() if line.strip()]
    said = [json.loads(line) for line in lines]
    assert any(line["message"].startswith("serving tiny-colour") for line in said)
    assert any(line["message"].startswith("shutting down") for line in said)
    assert {line["level"] for line in said} >= {"INFO"}
