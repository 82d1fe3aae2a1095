"""How raw results are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from load_tests import record


def test_a_run_says_when_on_what_of_which_commit_and_that_the_load_came_from_beside_it() -> None:
    found = record.circumstances(["numpy"])
    assert found.keys() == {"date", "commit", "machine", "libraries", "load_before"}
    assert found["libraries"].keys() == {"python", "numpy"}
    assert found["machine"].endswith(record.BESIDE)


@pytest.mark.parametrize(
    "run",
    [
        {"libraries": {"numpy": "2"}, "peers_libraries": {"mosec": "1"}},
        {"versions": {"sightline": {"numpy": "2"}, "peers": {"mosec": "1"}}},
    ],
    ids=["new", "old"],
)
def test_the_versions_of_ours_and_others_are_read_from_new_and_old_results(run: dict[str, Any]) -> None:
    assert record.libraries(run) == {"mosec": "1", "numpy": "2"}


def test_a_run_without_other_servers_has_its_own_versions() -> None:
    assert record.libraries({"versions": {"numpy": "2"}}) == {"numpy": "2"}


def test_what_was_written_is_read_and_nothing_is_none(tmp_path: Path) -> None:
    record.write(tmp_path / "new" / "found.json", {"n": 1})
    assert record.read(tmp_path / "new" / "found.json") == {"n": 1}
    assert record.read(tmp_path / "other.json") is None
