"""Where a figure comes from."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from classifier.provenance import Provenance, commit_of, of_this_run


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "code.py").write_text("1\n")
    (tmp_path / "result.json").write_text("1\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "first")
    return tmp_path


def git(checkout: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=checkout, check=True)


def test_a_run_names_its_machine_its_moment_and_its_libraries() -> None:
    here = of_this_run(["numpy", "no-such-library"])
    assert here.machine.endswith(f", {os.cpu_count()} cores")
    assert platform.node() not in here.machine
    assert (datetime.now(UTC) - here.moment).total_seconds() < 60
    assert here.libraries == {"python": platform.python_version(), "numpy": np.__version__}


def test_a_record_is_kept_as_raw_results_always_were() -> None:
    moment = datetime(2026, 1, 31, 12, 30, 5, tzinfo=UTC)
    record = Provenance("AMD EPYC", 2, "c0ffee", moment, {"python": "3.11.7"})
    assert record.date == "2026-01-31"
    assert record.as_json() == {
        "date": "2026-01-31T12:30:05Z",
        "commit": "c0ffee",
        "machine": "AMD EPYC, 2 cores",
        "libraries": {"python": "3.11.7"},
    }


def test_a_commit_is_clean_until_code_changes(checkout: Path) -> None:
    assert re.fullmatch("[0-9a-f]{12}", commit_of(checkout))
    (checkout / "result.json").write_text("2\n")
    assert not commit_of(checkout).endswith("-dirty")
    (checkout / "code.py").write_text("2\n")
    assert commit_of(checkout).endswith("-dirty")


def test_outside_of_a_checkout_the_commit_is_unknown(tmp_path: Path) -> None:
    assert commit_of(tmp_path) == "unknown"
    assert commit_of(tmp_path / "missing") == "unknown"
