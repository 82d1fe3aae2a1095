"""`training.releasing.bento`: a Bento is built of a checkout's own models. What is in it: tests/e2e/packaging."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from training.releasing import bento

ROOT = Path(__file__).parents[3]


def test_the_checkouts_models_can_be_packed_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bento.can_build(ROOT / "models")
    assert not bento.can_build(tmp_path / "models")
    (tmp_path / "bentofile.yaml").touch()
    assert bento.can_build(tmp_path / "models")
    assert not bento.can_build(tmp_path / "others")
    monkeypatch.chdir(tmp_path)
    assert bento.can_build(Path("models"))


def test_a_build_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, stdout="", stderr="Error: no space\nleft")

    monkeypatch.setattr(subprocess, "run", fails)
    with pytest.raises(bento.NoBento, match="failed: Error: no space left"):
        bento.build(tmp_path / "models")
