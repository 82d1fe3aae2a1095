"""Where a trained version or a measured figure comes from: machine, commit, moment and libraries.

One record for training and load tests alike.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_CODE = ("*.py", "*.lua", "*.toml", ":(exclude)tests", ":(exclude)docs")  # what shapes a figure; paths in git's words


@dataclass(frozen=True)
class Provenance:
    """The circumstances of one run.

    `processor` is its name, nothing that names the computer; `commit` ends in `-dirty` where code was changed since;
    `moment` is UTC; `libraries` has versions by name, Python's among them.
    """

    processor: str
    cores: int
    commit: str
    moment: datetime
    libraries: dict[str, str]

    @property
    def machine(self) -> str:
        """Processor and cores, as in `AMD EPYC 9R14, 2 cores`."""
        return f"{self.processor}, {self.cores} cores"

    @property
    def date(self) -> str:
        """The day, as in `2026-01-31`."""
        return self.moment.date().isoformat()

    def as_json(self) -> dict[str, Any]:
        """The record as raw results keep it: `date` (with the time), `commit`, `machine`, `libraries`."""
        return {
            "date": self.moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "commit": self.commit,
            "machine": self.machine,
            "libraries": self.libraries,
        }


def of_this_run(libraries: Iterable[str] = (), checkout: Path = ROOT) -> Provenance:
    """The record of what runs now, with the versions of these libraries, for the code in `checkout`."""
    return Provenance(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        commit=commit_of(checkout),
        moment=datetime.now(UTC),
        libraries=_versions(libraries),
    )


def commit_of(checkout: Path) -> str:
    """The git commit of a checkout, with `-dirty` where its code was changed since; "unknown" outside of one."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=checkout, capture_output=True, text=True, check=True)  # noqa: S603, S607
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", *_CODE)
        return git("rev-parse", "--short=12", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    try:
        named = re.search(r"^model name\s*:\s*(.+?)\s*$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:  # not Linux
        named = None
    return named[1] if named else platform.processor() or platform.machine()


def _versions(libraries: Iterable[str]) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in libraries:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # run from a checkout, Sightline itself is not installed; the commit names it
    return found
