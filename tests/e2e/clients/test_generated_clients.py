"""Clients that others' tools make of the OpenAPI document classify a photo. Each tool is in an environment of its own.

`.ci/run` makes them: `API_CLIENTS_PYTHON` is a Python with openapi-python-client and pyarrow, `API_CLIENTS_NODE` a
folder with the node modules of `requirements/api-clients/`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.servers import ROOT, Server
from tests.service.pictures import jpeg
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.e2e

HERE = Path(__file__).parent / "generated"
PYTHON, NODE_MODULES = os.environ.get("API_CLIENTS_PYTHON"), os.environ.get("API_CLIENTS_NODE")
with_python = pytest.mark.skipif(PYTHON is None, reason="API_CLIENTS_PYTHON is not set; .ci/run installs it")
with_node = pytest.mark.skipif(
    NODE_MODULES is None or shutil.which("node") is None, reason="API_CLIENTS_NODE is not set; .ci/run installs it"
)


@pytest.fixture
def folder(tmp_path: Path, server: Server) -> Path:
    """With the document and a photo."""
    (tmp_path / "openapi.json").write_bytes(httpx.get(f"{server.url}/openapi.json").content)
    (tmp_path / "photo.jpg").write_bytes(jpeg())
    for file in HERE.iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path


def run(folder: Path, *words: object, **environ: str) -> str:
    """What a command says on stdout; what it says on stderr is shown where it fails."""
    command = [str(word) for word in words]
    options: dict[str, Any] = {"text": True, "capture_output": True, "timeout": 120}
    done = subprocess.run(command, check=False, cwd=folder, env=os.environ | environ, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check(said: str, server: Server) -> None:
    """The answer of a made client is the one of plain HTTP."""
    answer: dict[str, Any] = httpx.post(f"{server.url}/v1/models/{COLOUR}/predict?top_k=1", content=jpeg()).json()
    top = answer["predictions"][0]
    expected = {"model": COLOUR, "version": answer["version"], "label": top["label"]}
    assert json.loads(said) == expected | {"probability": pytest.approx(top["probability"], abs=1e-5)}


@with_python
def test_openapi_python_client_makes_a_client_that_classifies_a_photo(folder: Path, server: Server) -> None:
    maker = ["-m", "openapi_python_client", "generate", "--path", "openapi.json", "--config", "config.yaml"]
    run(folder, PYTHON, *maker, "--meta", "none", "--output-path", "made", "--fail-on-warning")
    check(run(folder, PYTHON, "-W", "error", "ask.py", server.url, COLOUR, "photo.jpg"), server)


@with_node
def test_openapi_typescript_makes_types_for_a_client_that_classifies_a_photo(folder: Path, server: Server) -> None:
    modules = Path(str(NODE_MODULES)).resolve() / "node_modules"
    (folder / "node_modules").symlink_to(modules)
    (folder / "package.json").write_text('{"type": "module"}')
    run(folder, modules / ".bin" / "openapi-typescript", "openapi.json", "--output", "schema.ts")
    run(folder, modules / ".bin" / "tsc")
    check(run(folder, "node", "ask.js", server.url, COLOUR, "photo.jpg"), server)


@with_python
def test_our_client_writes_parquet_where_pyarrow_is(folder: Path, server: Server) -> None:
    words = ["-m", "service.client", server.url, COLOUR, str(folder), "--out", str(folder / "answers.parquet")]
    run(ROOT, PYTHON, *words)
    code = "import pyarrow.parquet as p; print(p.read_table('answers.parquet').column('version').to_pylist())"
    assert run(folder, PYTHON, "-c", code) == "[2]\n"
