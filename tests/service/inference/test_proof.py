"""A version is tried in a process of its own before a server that answers meanwhile loads it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from classifier.engines.throughput import SIZES
from service.inference import proof
from service.inference.proof import Disproved
from service.settings import Settings
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.anyio


@pytest.mark.slow
async def test_a_sound_version_proves_itself_and_is_measured(tiny_models_root: Path) -> None:
    settings = Settings(models=tiny_models_root, engine="openvino", precision="float32")
    found = await proof.tried(settings, COLOUR, 2)
    assert found.precision == "float32"
    assert found.max_batch in SIZES
    assert found.images_per_s > 0


@pytest.mark.slow
async def test_a_broken_version_fails_for_its_true_reason(tiny_models_root: Path, tmp_path: Path) -> None:
    models = Path(shutil.copytree(tiny_models_root, tmp_path / "models"))
    network = bytearray((models / COLOUR / "2" / "model.onnx").read_bytes())
    network[-1] ^= 1
    (models / COLOUR / "2" / "model.onnx").write_bytes(network)
    with pytest.raises(Disproved, match=r"model\.onnx: its SHA-256 is not the card's") as error:
        await proof.tried(Settings(models=models, engine="openvino", precision="float32"), COLOUR, 2)
    assert error.value.title == "The model's files do not match its card"


def program(folder: Path, text: str) -> str:
    """A program in Python's stead."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("text", "title", "detail"),
    [
        ("kill -SEGV $$", "The version ends the process that loads it", "ended by signal 11"),
        ("echo no JSON; echo reason >&2", "It failed to load; the server's log says why", "reason"),
    ],
)
async def test_a_version_that_ends_its_process_ends_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, title: str, detail: str
) -> None:
    monkeypatch.setattr(sys, "executable", program(tmp_path, text))
    with pytest.raises(Disproved, match=detail) as error:
        await proof.tried(Settings(), COLOUR, 1)
    assert error.value.title == title


async def test_the_process_ends_with_who_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "began"
    monkeypatch.setattr(sys, "executable", program(tmp_path, f"echo $$ > {mark}; exec sleep 60"))
    waiting = asyncio.create_task(proof.tried(Settings(), COLOUR, 1))
    while not (mark.exists() and mark.read_text().strip()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    process = Path("/proc") / mark.read_text().strip() / "stat"
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
        while process.read_text().split()[2] not in "ZX":  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_the_process_steps_back_before_it_imports_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "service" / "inference"
    package.mkdir(parents=True)
    (package / "proof.py").write_text(
        "import json, os\ndef main(): print(json.dumps({'title': 'nice', 'detail': str(nice)}))\nnice = os.nice(0)\n"
    )
    monkeypatch.setattr(sys, "executable", program(tmp_path, f'PYTHONPATH={tmp_path} exec {sys.executable} "$@"'))
    with pytest.raises(Disproved) as error:
        await proof.tried(Settings(), COLOUR, 1)
    assert int(str(error.value)) >= os.nice(0) + proof.BEHIND or int(str(error.value)) == 19


async def test_a_version_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", program(tmp_path, "exec sleep 60"))
    monkeypatch.setattr(proof, "LONGEST_S", 0.01)
    with pytest.raises(Disproved, match=r"not loaded in 0\.01 s"):
        await proof.tried(Settings(), COLOUR, 1)


@pytest.mark.parametrize("engine", ["tensorflow", "jax"])
async def test_what_may_run_on_a_gpu_is_not_tried_apart(engine: str) -> None:
    assert proof.can_try(Settings(engine="openvino"))
    assert not proof.can_try(Settings(engine=engine))
