"""What a server counts is its own, and there is one process that counts."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.servers import Server, serving, wait_until
from tests.service.pictures import jpeg
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.e2e

PREDICT = f"/v1/models/{COLOUR}/predict"


def classify(server: Server, images: int) -> None:
    for seed in range(images):
        httpx.post(server.url + PREDICT, content=jpeg(seed=seed)).raise_for_status()


def classified(server: Server) -> float:
    """How many images a server says it has classified; its own sample image is not among them."""
    text = httpx.get(f"{server.url}/metrics").text
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    template = "/v1/models/{model}/predict"
    return sum(
        s.value for s in samples if s.name == "bentoml_service_request_total" and s.labels["endpoint"] == template
    )


def test_servers_of_one_user_count_for_themselves_and_erase_nothing(tiny_models_root: Path, tmp_path: Path) -> None:
    environ = {"SIGHTLINE_MODELS": str(tiny_models_root)}
    with serving(tmp_path, environ=environ) as first:
        wait_until(first, "/readyz", 200)
        classify(first, 3)
        with serving(tmp_path, environ=environ) as second:
            wait_until(second, "/readyz", 200)
            assert (classified(first), classified(second)) == (3, 0)
            classify(second, 2)
            classify(first, 1)
            assert (classified(first), classified(second)) == (4, 2)
        assert classified(first) == 4
    assert list(tmp_path.rglob("*.db")) == []


@pytest.mark.parametrize("workers", ["2", "cpu_count"])
@pytest.mark.parametrize("by", ["variable", "file"])
def test_more_workers_than_one_are_refused_with_one_line(tmp_path: Path, by: str, workers: str) -> None:
    file = tmp_path / "bentoml.yaml"
    file.write_text(json.dumps({"services": {"sightline": {"workers": int(workers) if workers == "2" else workers}}}))
    asked = {
        "variable": {"BENTOML_CONFIG_OPTIONS": f"services.sightline.workers={workers}"},
        "file": {"BENTOML_CONFIG": str(file)},
    }
    with serving(tmp_path, environ=asked[by]) as server:
        assert server.process.wait(30) == 1
        (line,) = [line for line in server.log.read_text().splitlines() if "sightline" in line.partition(":")[0]]
    assert line.startswith("sightline: BentoML's configuration sets services.sightline.workers to ")
    assert line.endswith("run replicas behind a load balancer for more")
    assert "Traceback" not in server.log.read_text()
