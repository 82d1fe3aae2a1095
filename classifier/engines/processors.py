"""How many processors this process may use: those it is bound to, and what its control group grants."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def usable_processors(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """At least 1. A grant of 1.5 processors counts as 2, because half of one would stand idle otherwise."""
    bound_to = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = granted_processors(cgroups, membership)
    return max(1, bound_to if granted is None else min(bound_to, math.ceil(granted)))


def granted_processors(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> float | None:
    """The smallest grant of this process's control group and those above it; None where none has a limit."""
    grants = [grant for folder in _folders(cgroups, membership) if (grant := _grant(folder)) is not None]
    return min(grants, default=None)


def _folders(cgroups: Path, membership: Path) -> list[Path]:
    """Of both versions of control groups. In a container the group named may lie outside of what is mounted."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:  # "0::/path", or "4:cpu,cpuacct:/path"
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = cgroups / "cpu" if controllers else cgroups
        group = root / path.lstrip("/")
        found += [group, *(above for above in group.parents if above.is_relative_to(root))]
    return found


def _grant(folder: Path) -> float | None:
    """Processors that one control group may use at once; None without a limit."""
    try:
        if (limit := folder / "cpu.max").exists():
            quota, period = limit.read_text(encoding="ascii").split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # "max"; or no such group here
        return None
