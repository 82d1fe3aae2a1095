"""The shipped models over HTTP, on each engine."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import httpx
import pytest

from classifier.store import ModelStore
from tests.e2e.servers import ROOT, Server, serving, wait_until

pytestmark = pytest.mark.e2e

PHOTO = (ROOT / "docs" / "chelsea.jpg").read_bytes()
VERSIONS = [(name, version) for name, known in ModelStore(ROOT / "models").versions().items() for version in known]


def answers(server: Server, engine: str) -> dict[tuple[str, int], dict[str, float]]:
    """The probabilities of one photo, by label, from every version, and its familiarity."""
    found = {}
    for name, version in VERSIONS:
        url = f"{server.url}/v1/models/{name}/versions/{version}"
        assert httpx.get(url).json()["engine"] == engine
        url += "/predict"
        answer = httpx.post(url, content=PHOTO, timeout=60).raise_for_status().json()
        found[name, version] = {entry["label"]: entry["probability"] for entry in answer["predictions"]}
        found[name, version] |= {"familiarity": answer["familiarity"]} if "familiarity" in answer else {}
    return found


@pytest.fixture(scope="module")
def on_openvino(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], dict[str, float]]:
    return answers_on("openvino", tmp_path_factory.mktemp("openvino"))


def answers_on(engine: str, home: Path) -> dict[tuple[str, int], dict[str, float]]:
    environ = {"SIGHTLINE_ENGINE": engine, "SIGHTLINE_PRECISION": "float32", "SIGHTLINE_MAX_BATCH": "1"}
    with serving(home, environ=environ) as server:
        wait_until(server, "/readyz", 200, timeout_s=180)
        return answers(server, engine)


@pytest.mark.parametrize("engine", ["tensorflow", "jax"])
def test_every_shipped_version_answers_the_same_on_openvino_and_on(
    engine: str, on_openvino: dict[tuple[str, int], dict[str, float]], tmp_path: Path
) -> None:
    if not importlib.util.find_spec(engine):
        pytest.skip(f"{engine} is not installed")
    found = answers_on(engine, tmp_path)
    for key, expected in on_openvino.items():
        assert found[key] == pytest.approx(expected, abs=1e-4), key
