"""The Bento of a release: service, classifier and models, as `make bento` packs them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from classifier import provenance
from classifier.errors import SightlineError
from classifier.store import ModelStore

BENTOFILE = "bentofile.yaml"


class NoBento(SightlineError):
    """BentoML cannot build, or did not; then the version is released all the same."""

    code = "no-bento"
    title = "The Bento was not built"


def can_build(models: Path) -> bool:
    """Whether the models lie in a checkout, whose `bentofile.yaml` packs them."""
    return models.resolve().name == "models" and (models.resolve().parent / BENTOFILE).is_file()


def check_can_build() -> None:
    """Raise NoBento without uv, which BentoML would install unasked, in whatever version is the newest."""
    if not (importlib.util.find_spec("uv") or shutil.which("uv", path=_path())):
        raise NoBento("building a Bento needs uv, which is not installed; `make bento` installs it, or say --no-bento")


def build(models: Path) -> str:
    """Build the Bento of the checkout that the models lie in, and return its tag. Raises NoBento."""
    checkout = models.resolve().parent
    version = provenance.of_this_run(("sightline",)).libraries.get("sightline", "unknown")
    packed = " ".join(f"{name}/{v}" for name, versions in ModelStore(models).versions().items() for v in versions)
    labels = [f"version={version}", f"models={packed}", f"commit={provenance.commit_of(checkout)}"]
    command = [sys.executable, "-m", "bentoml", "build", "--output", "tag"]
    for label in labels:
        command += ["--label", label]
    environment = os.environ | {"PATH": _path(), "BENTOML_DO_NOT_TRACK": "True"}
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    tag = done.stdout.rpartition("__tag__:")[2].strip()
    if done.returncode or not tag:
        said = " ".join((done.stderr or done.stdout).split())[-300:]
        raise NoBento(f"bentoml build in {checkout} failed: {said}")
    return tag


def _path() -> str:
    """Where programs are looked for: beside this Python first, as in a virtual environment that is not activated."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
