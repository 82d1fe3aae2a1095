"""The shipped models over HTTP, on each engine."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from classifier.store import ModelStore
from tests.e2e.servers import ROOT, Server, serving, wait_until

pytestmark = pytest.mark.e2e

PHOTO = (ROOT / "docs" / "chelsea.jpg").read_bytes()
VERSIONS = [(name, version) for name, known in ModelStore(ROOT / "models").versions().items() for version in known]


def answers(server: Server) -> dict[tuple[str, int], dict[str, float]]:
    """The probabilities of one photo, by label, from every version."""
    found = {}
    for name, version in VERSIONS:
        url = f"{server.url}/v1/models/{name}/versions/{version}/predict"
        answer = httpx.post(url, content=PHOTO, timeout=60).raise_for_status().json()
        found[name, version] = {entry["label"]: entry["probability"] for entry in answer["predictions"]}
    return found


def test_every_shipped_version_answers_the_same_on_openvino_and_on_tensorflow(tmp_path: Path) -> None:
    found = {}
    for engine in ("openvino", "tensorflow"):
        environ = {"SIGHTLINE_ENGINE": engine, "SIGHTLINE_PRECISION": "float32"}
        with serving(tmp_path / engine, environ=environ) as server:
            wait_until(server, "/readyz", 200, timeout_s=180)
            for name, version in VERSIONS:
                about = httpx.get(f"{server.url}/v1/models/{name}/versions/{version}").json()
                assert about["engine"] == engine
            found[engine] = answers(server)
    for key, expected in found["openvino"].items():
        assert found["tensorflow"][key] == pytest.approx(expected, abs=1e-4), key
