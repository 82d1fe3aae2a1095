"""A Bento of this checkout with the models that it ships, built once for all tests of a run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.servers import ROOT
from tests.shared_folders import made_once

VENV = Path(sys.executable).parents[1]
BENTOML = VENV / "bin" / "bentoml"
ROOMS = ("service", "classifier", "models", "training", "tests", "load_tests", "requirements", "docs")
STRAYS = ("data/cats/1.jpg", "models/cifar-10/.draft-x1/model.keras", "service/__pycache__/app.pyc", ".env")


@dataclass(frozen=True)
class Bento:
    """A Bento that lies in a BENTOML_HOME: the newest there."""

    home: Path

    @property
    def tag(self) -> str:
        return f"sightline:{(self.home / 'bentos' / 'sightline' / 'latest').read_text(encoding='utf-8').strip()}"

    @property
    def environ(self) -> dict[str, str]:
        return {"BENTOML_HOME": str(self.home), "BENTOML_DO_NOT_TRACK": "True", "BENTOML": str(BENTOML)}

    @property
    def folder(self) -> Path:
        name, version = self.tag.split(":")
        return self.home / "bentos" / name / version

    def files(self, below: str) -> set[str]:
        root = self.folder / below
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def shipped(factory: pytest.TempPathFactory) -> Bento:
    """The Bento of the shipped models, built beside much that has no business in one; to be read only."""
    if not (shutil.which("uv") or importlib.util.find_spec("uv")):
        pytest.skip("without uv, `bentoml build` would install the newest one into this environment unasked")
    return Bento(made_once(factory, "bentoml", build))


def make_command(target: str, *variables: str, done: str = "", cwd: Path = ROOT) -> list[str]:
    """`make TARGET`, which is to take the environment that runs this test in place of one that it would install first.

    `done` is a target that it takes for made already.
    """
    old = [f"--assume-old={VENV}/.bento", *([f"--assume-old={done}"] if done else [])]
    return ["make", "--directory", str(cwd), *old, target, f"VENV={VENV}", *variables]


def build(home: Path) -> None:
    """Build the Bento into a BENTOML_HOME."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        for room in ROOMS:
            shutil.copytree(ROOT / room, project / room, ignore=shutil.ignore_patterns("__pycache__", ".draft-*"))
        for name in ("bentofile.yaml", "Makefile"):
            shutil.copy(ROOT / name, project)
        for stray in STRAYS:
            (project / stray).parent.mkdir(parents=True, exist_ok=True)
            (project / stray).write_bytes(b"stray")
        outside = {name: text for name, text in os.environ.items() if not name.startswith("MAKE")}  # `make test`
        done = subprocess.run(
            make_command("bento", cwd=project),
            env=outside | {"BENTOML_HOME": str(home)},
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
