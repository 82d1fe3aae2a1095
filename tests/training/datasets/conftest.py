"""What the tests of the data sets share."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[4] / "shared" / "data"  # beside the project, on the machine it grew on


@pytest.fixture
def shared_data() -> Path:
    """The folder of the real archives; a test that asks for it is skipped where there is none."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the real archives in {SHARED_DATA}")
    return SHARED_DATA
