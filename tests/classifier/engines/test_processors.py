from __future__ import annotations

import os
from pathlib import Path

import pytest

from classifier.engines.processors import granted_processors, usable_processors


def control_groups(folder: Path, membership: str, **limits: str) -> tuple[Path, Path]:
    """A file system of control groups and a process's memberships; `limits` are file contents, by path with `__`."""
    for name, text in limits.items():
        path = folder / "cgroup" / name.replace("__", "/").replace("cpu_max", "cpu.max").replace("cfs", "cpu.cfs")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "membership").write_text(membership)
    return folder / "cgroup", folder / "membership"


@pytest.mark.parametrize(
    ("membership", "limits", "granted"),
    [
        pytest.param("0::/\n", {"cpu_max": "150000 100000\n"}, 1.5, id="version 2, as a container sees it"),
        pytest.param(
            "0::/a/b\n", {"a__cpu_max": "200000 100000", "a__b__cpu_max": "max 100000"}, 2.0, id="group above"
        ),
        pytest.param("0::/\n", {"cpu_max": "max 100000\n"}, None, id="version 2 without a limit"),
        pytest.param(
            "4:cpu,cpuacct:/docker/1\n3:memory:/docker/1\n",
            {"cpu__cfs_quota_us": "50000\n", "cpu__cfs_period_us": "100000\n"},
            0.5,
            id="version 1, whose group lies outside of the container's mount",
        ),
        pytest.param(
            "4:cpu:/\n", {"cpu__cfs_quota_us": "-1", "cpu__cfs_period_us": "100000"}, None, id="version 1, none"
        ),
        pytest.param("0::/\n", {}, None, id="no file"),
    ],
)
def test_the_grant_is_the_smallest_on_the_way_up(
    tmp_path: Path, membership: str, limits: dict[str, str], granted: float | None
) -> None:
    assert granted_processors(*control_groups(tmp_path, membership, **limits)) == granted


@pytest.mark.parametrize(
    ("bound_to", "limit", "usable"),
    [(64, "150000 100000", 2), (64, "max 100000", 64), (1, "400000 100000", 1), (4, "1000 100000", 1)],
)
def test_processors_are_those_bound_to_and_granted_rounded_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound_to: int, limit: str, usable: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(bound_to)), raising=False)
    assert usable_processors(*control_groups(tmp_path, "0::/\n", cpu_max=limit)) == usable


def test_without_control_groups_the_process_may_use_all_that_it_is_bound_to(tmp_path: Path) -> None:
    assert usable_processors(tmp_path / "none", tmp_path / "none") == len(os.sched_getaffinity(0))
