from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("atheris", reason="Atheris has wheels for Linux and CPython up to 3.13 only")


@pytest.mark.slow
@pytest.mark.parametrize("where", [[], ["--apart"]], ids=["here", "apart"])
def test_coverage_guided_bytes_give_pixels_or_an_error_of_ours(where: list[str], tmp_path: Path) -> None:
    limits = [*where, "-max_total_time=30", "-timeout=20", f"-artifact_prefix={tmp_path}/", "-verbosity=0", "-seed=1"]
    # By way of a shell, which is small: the peak that libFuzzer holds against its memory limit begins with the parent's
    # size, and TensorFlow may be in this one.
    shell = ["sh", "-c", '"$@"; exit $?', "sh"]
    done = subprocess.run(
        [*shell, sys.executable, "-m", "tests.fuzz.decoder", *limits],
        cwd=Path(__file__).parents[2],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert list(tmp_path.iterdir()) == []
