"""The package that `bentoml build` makes: what is in it, and that it serves by itself."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from docs.tables import BENTO
from tests.e2e.servers import ROOT, serving, wait_until
from tests.service.pictures import jpeg
from tests.tiny_models import COLOUR, GREY

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Built:
    home: Path
    tag: str

    @property
    def folder(self) -> Path:
        name, version = self.tag.split(":")
        return self.home / "bentos" / name / version

    def files(self, below: str) -> set[str]:
        root = self.folder / below
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def built(tiny_models_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A Bento of this checkout with the tiny models, and with much beside it that has no place in a Bento."""
    if not (shutil.which("uv") or importlib.util.find_spec("uv")):
        pytest.skip("without uv, `bentoml build` would install the newest one into this environment unasked")
    project, home = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("bentoml")
    for folder in ("service", "classifier", "training", "tests", "load_tests", "requirements"):
        shutil.copytree(ROOT / folder, project / folder)
    shutil.copy(ROOT / "bentofile.yaml", project)
    (project / "docs").mkdir()
    shutil.copy(BENTO, project / "docs")
    shutil.copytree(tiny_models_root, project / "models")
    for stray in ("data/cats/1.jpg", "models/tiny-grey/.draft-x1/model.keras", "service/__pycache__/app.pyc", ".env"):
        (project / stray).parent.mkdir(parents=True, exist_ok=True)
        (project / stray).write_bytes(b"stray")
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", "build", "--output", "tag"],
        cwd=project,
        env=os.environ | {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"},
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    tag = re.search(r"__tag__:(\S+)", done.stdout)
    assert tag, done.stdout + done.stderr
    return Built(home, tag[1])


def test_the_bento_holds_the_serving_code_and_every_model_version_and_nothing_else(built: Built) -> None:
    files = built.files("src")
    assert {path.split("/")[0] for path in files} == {"service", "classifier", "models", "bentofile.yaml"}
    assert {"service/app.py", "classifier/engines/openvino.py", f"models/{COLOUR}/1/card.json"} <= files
    assert {path.split("/")[1] for path in files if path.startswith("models/")} == {COLOUR, GREY}
    assert not [path for path in files if "stray" in path or ".draft" in path or "__pycache__" in path]


def test_the_models_in_the_bento_are_whole(built: Built, tiny_models_root: Path) -> None:
    there = {str(path.relative_to(tiny_models_root)) for path in tiny_models_root.rglob("*") if path.is_file()}
    assert built.files("src/models") == there


def test_the_container_installs_locked_packages_with_hashes_and_without_tensorflow(built: Built) -> None:
    requirements = (built.folder / "env/python/requirements.txt").read_text()
    names = set(re.findall(r"^([a-z0-9_.-]+)==", requirements, re.MULTILINE))
    assert {"bentoml", "openvino", "starlette", "orjson"} <= names
    assert not names & {"tensorflow", "keras", "matplotlib", "tf2onnx", "pytest", "locust"}
    assert "--hash=sha256:" in requirements
    assert "index-url" not in requirements
    dockerfile = (built.folder / "env/docker/Dockerfile").read_text()
    assert "FROM python:3.11-slim" in dockerfile
    assert "BENTOML_DO_NOT_TRACK=True" in dockerfile
    assert "apt-get" not in dockerfile  # no compiler: every package is a wheel


def test_the_bento_says_what_it_is(built: Built) -> None:
    assert (built.folder / "README.md").read_text(encoding="utf-8") == BENTO.read_text(encoding="utf-8")
    described = yaml.safe_load((built.folder / "bento.yaml").read_text(encoding="utf-8"))
    assert described["labels"] == {"project": "sightline"}


def test_the_bento_serves_from_any_folder(built: Built, tmp_path: Path) -> None:
    with serving(built.home, built.tag, cwd=tmp_path) as server:
        wait_until(server, "/readyz", 200)
        listed = httpx.get(f"{server.url}/v1/models").json()["models"]
        assert [(model["model"], model["versions"]) for model in listed] == [(COLOUR, [1, 2]), (GREY, [1])]
        answer = httpx.post(f"{server.url}/v1/models/{COLOUR}/predict", content=jpeg())
        assert sum(entry["probability"] for entry in answer.json()["predictions"]) == pytest.approx(1, abs=0.01)


def test_the_lock_names_no_index() -> None:
    lock = (ROOT / "requirements" / "serve.txt").read_text()
    assert not re.search(r"index-url|https?://", lock)
