from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # each starts a Python that imports BentoML

ROOT = Path(__file__).parents[2]


def start(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SIGHTLINE_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=clean | {"BENTOML_DO_NOT_TRACK": "True"} | environ,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_importing_the_service_imports_no_engine() -> None:
    heavy = "{'tensorflow', 'jax', 'keras', 'openvino', 'onnx', 'torch', 'matplotlib', 'training'}"
    done = start(f"import sys, service.app; print(sorted({heavy} & set(sys.modules)))")
    assert done.stdout.strip() == "[]", done.stderr


def test_a_wrong_setting_stops_the_start_with_one_line() -> None:
    done = start("import service.app", SIGHTLINE_MAX_BATCH="many")
    assert done.returncode == 1
    assert done.stderr.strip() == "sightline: SIGHTLINE_MAX_BATCH must be a whole number, not 'many'"


def test_without_a_server_that_runs_our_protocol_nothing_is_started() -> None:
    code = """
import asyncio
from service.app import Sightline

async def start():
    async with Sightline.to_asgi().router.lifespan_context(None):
        print("started")

asyncio.run(start())
"""
    done = start(code)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("sightline: no uvicorn serves this process; start it with")
    assert "started" not in done.stdout
