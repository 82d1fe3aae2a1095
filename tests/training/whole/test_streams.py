"""What `fit` and `evaluate` do where nobody reads what they print, as before `| head -1`, or where all is ASCII."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from classifier.store import ModelStore
from tests.archives import photo_folders
from tests.tiny_models import COLOUR

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
ON_TINY = """
import sys
import training.progress
from tests.training.tiny_backbone import on_tiny
from training.__main__ import main
training.progress.FIRST_LINE_S = 3600.0  # no progress lines on a slow machine: which write fails is always the same
from training.recipes import FOR_ANY_IMAGES
FOR_ANY_IMAGES["features"] = on_tiny()
sys.exit(main(sys.argv[1:]))
"""


def fit_command(home: Path, classes: Sequence[str] = ("cup", "plate")) -> list[str]:
    photos = photo_folders(home / "cups", classes, per_class=20, side=32)
    folders = ["--models", str(home / "models"), "--runs", str(home / "runs")]
    return [sys.executable, "-c", ON_TINY, "fit", "features", "--data", str(photos), *folders]


def test_a_fit_whose_first_line_was_enough_keeps_its_version_and_says_so(tmp_path: Path) -> None:
    with subprocess.Popen(
        fit_command(tmp_path), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline().startswith("cups: train ")
        running.stdout.close()
        said = running.stderr.read()
    assert running.returncode == 1
    saved = tmp_path / "models" / "cups" / "1"
    assert said == f"stopped, since nobody reads the output; {saved} is saved\n"
    assert ModelStore(tmp_path / "models").verify("cups").version == 1


def unread(command: list[str]) -> tuple[int, str]:
    """The exit code and stderr of a command whose output nobody ever reads."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120, check=False
        )
    finally:
        os.close(writer)
    return done.returncode, done.stderr


def test_a_fit_that_nobody_reads_ends_before_it_trains(tmp_path: Path) -> None:
    code, said = unread(fit_command(tmp_path))
    assert code == 1
    assert said == ("stopped, since nobody reads the output; no epoch is complete: the same command begins anew\n")


@pytest.mark.parametrize("more", [[], ["--json"]], ids=["text", "json"])
def test_an_evaluation_that_nobody_reads_ends_without_a_word(
    more: list[str], tiny_models_root: Path, tmp_path: Path
) -> None:
    photos = photo_folders(tmp_path / "lamps", ("red", "green", "blue"), per_class=5, side=12)
    models = ["--models", str(tiny_models_root), "--engine", "openvino"]
    assert unread([sys.executable, "-m", "training", "evaluate", COLOUR, "--data", str(photos), *models, *more]) == (
        1,
        "",
    )


@pytest.mark.parametrize("encoding", ["", "ascii"], ids=["as Python chooses", "ASCII"])
def test_names_of_every_script_can_be_fitted_in_the_plainest_locale(encoding: str, tmp_path: Path) -> None:
    environ = os.environ | {"LC_ALL": "C"} | ({"PYTHONIOENCODING": encoding} if encoding else {})
    done = subprocess.run(
        fit_command(tmp_path, ("日本", "café")), cwd=ROOT, env=environ, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert ModelStore(tmp_path / "models").card("cups").labels == ("café", "日本")
    shown = r"\u65e5\u672c" if encoding else "日本"
    assert f"  {shown}: ".encode() in done.stdout
