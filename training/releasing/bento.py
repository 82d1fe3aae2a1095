"""The Bento of a release: service, classifier and models, as `make bento` packs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from classifier import provenance
from classifier.errors import SightlineError

BENTOFILE = "bentofile.yaml"


class NoBento(SightlineError):
    """BentoML did not build; its last lines say why. The version is released all the same."""

    code = "no-bento"
    title = "The Bento was not built"


def can_build(models: Path) -> bool:
    """Whether the models lie in a checkout, whose `bentofile.yaml` packs them."""
    return models.resolve().name == "models" and (models.resolve().parent / BENTOFILE).is_file()


def build(models: Path) -> str:
    """Build the Bento of the checkout that the models lie in, and return its tag. Raises NoBento."""
    checkout = models.resolve().parent
    version = provenance.of_this_run(("sightline",)).libraries.get("sightline", "unknown")
    labels = [f"version={version}", f"commit={provenance.commit_of(checkout)}"]
    command = [sys.executable, "-m", "bentoml", "build", "--output", "tag"]
    for label in labels:
        command += ["--label", label]
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])  # BentoML looks for uv
    environment = os.environ | {"PATH": beside, "BENTOML_DO_NOT_TRACK": "True"}
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    tag = done.stdout.rpartition("__tag__:")[2].strip()
    if done.returncode or not tag:
        said = " ".join((done.stderr or done.stdout).split())[-300:]
        raise NoBento(f"bentoml build in {checkout} failed: {said}")
    return tag
