"""The package that `bentoml build` makes: what is in it, and that it serves by itself."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
import yaml

from classifier.store import ModelStore
from docs.tables import BENTO
from service.client.version import VERSION
from tests.e2e.bentos import Bento, shipped
from tests.e2e.servers import ROOT, serving, wait_until
from tests.service.pictures import jpeg

pytestmark = pytest.mark.e2e

SHIPPED = ModelStore(ROOT / "models")
SERVED = [(name, list(versions)) for name, versions in sorted(SHIPPED.versions().items())]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Bento:
    return shipped(tmp_path_factory)


def test_the_bento_holds_the_serving_code_and_every_model_version_and_nothing_else(built: Bento) -> None:
    files = built.files("src")
    assert {path.split("/")[0] for path in files} == {"service", "classifier", "models", "bentofile.yaml"}
    assert {"service/app.py", "classifier/engines/openvino.py", "models/asl/1/card.json"} <= files
    assert {path.split("/")[1] for path in files if path.endswith("/card.json")} == set(SHIPPED.versions())
    assert not [path for path in files if "stray" in path or ".draft" in path or "__pycache__" in path]


def test_the_models_in_the_bento_are_whole(built: Bento) -> None:
    there = {str(path.relative_to(SHIPPED.root)) for path in SHIPPED.root.rglob("*") if path.is_file()}
    assert built.files("src/models") == {path for path in there if "/." not in path}  # but for drafts


def test_the_container_installs_locked_packages_with_hashes_and_without_what_trains(built: Bento) -> None:
    requirements = (built.folder / "env/python/requirements.txt").read_text()
    names = set(re.findall(r"^([a-z0-9_.-]+)==", requirements, re.MULTILINE))
    assert {"bentoml", "openvino", "starlette", "orjson"} <= names
    assert not names & {"tensorflow", "jax", "jaxlib", "keras", "matplotlib", "tf2onnx", "pytest", "locust"}
    assert "--hash=sha256:" in requirements
    assert "index-url" not in requirements
    dockerfile = (built.folder / "env/docker/Dockerfile").read_text()
    assert "FROM python:3.11-slim" in dockerfile
    assert "BENTOML_DO_NOT_TRACK=True" in dockerfile
    assert "apt-get" not in dockerfile  # no compiler: every package is a wheel


def test_the_bento_says_what_it_is(built: Bento) -> None:
    assert (built.folder / "README.md").read_text(encoding="utf-8") == BENTO.read_text(encoding="utf-8")
    described = yaml.safe_load((built.folder / "bento.yaml").read_text(encoding="utf-8"))
    models = " ".join(sorted(f"{path.parts[-3]}/{path.parts[-2]}" for path in (ROOT / "models").glob("*/*/card.json")))
    labels = {"project": "sightline", "version": VERSION, "models": models, "commit": "unknown"}  # it is no clone
    assert described["labels"] == labels


def test_the_bento_serves_from_any_folder(built: Bento, tmp_path: Path) -> None:
    with serving(built.home, built.tag, cwd=tmp_path) as server:
        wait_until(server, "/readyz", 200, timeout_s=300)
        listed = httpx.get(f"{server.url}/v1/models").json()["models"]
        assert [(model["model"], model["versions"]) for model in listed] == SERVED
        answer = httpx.post(f"{server.url}/v1/models/cifar-10/predict", content=jpeg())
        assert sum(entry["probability"] for entry in answer.json()["predictions"]) == pytest.approx(1, abs=0.01)


def test_the_lock_names_no_index() -> None:
    lock = (ROOT / "requirements" / "serve.txt").read_text()
    assert not re.search(r"index-url|https?://", lock)
