"""The parts of a table while it is made: each is whole or not there, so a killed job goes on where it was.

Beside `results.parquet` lie `results.parquet.parts/`, until the job ends, and `results.parquet.job.json`, which says
what the table holds.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from classifier.scoring.rows import Columns, Format, UnusableOutput, to_disk

Job = dict[str, Any]


class Marks:
    """Makes the mark of a part: SHA-256 of its images' names, shortened to 16 digits."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.names = 0

    def add(self, name: str) -> None:
        self._digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
        self.names += 1

    def mark(self) -> str:
        return self._digest.hexdigest()[:16]


class Part(NamedTuple):
    """A part on the disk, by its place in the table. `failed` of its rows have an error."""

    number: int
    rows: int
    failed: int
    mark: str

    def name(self, suffix: str) -> str:
        return f"{self.number:06}-{self.rows}-{self.failed}-{self.mark}{suffix}"

    @classmethod
    def of(cls, path: Path) -> Part:
        number, rows, failed, mark = path.stem.split("-")
        return cls(int(number), int(rows), int(failed), mark)


class Parts:
    """The parts of one table. Holds a lock, so that no second process writes it; `close` lets it go.

    Raises UnusableOutput where another process does, or where what lies there belongs to another job.
    """

    def __init__(self, out: Path, kind: Format, job: Job) -> None:
        self.out = out
        self._kind = kind
        self._job = job
        self._folder = out.with_name(f"{out.name}.parts")
        self._about = out.with_name(f"{out.name}.job.json")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = self._locked()
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    @property
    def whole(self) -> Job:
        """What the table holds, with `rows` and `failed`; empty while it is not whole."""
        known = self._known()
        return known if "rows" in known and self.out.exists() else {}

    def find(self, number: int) -> Part | None:
        found = next(self._folder.glob(f"{number:06}-*{self._suffix}"), None)
        return None if found is None else Part.of(found)

    def check(self, part: Part, marks: Marks) -> None:
        """Raise UnusableOutput where a part is of other images than those that stand in its place now."""
        if part.mark != marks.mark():
            raise UnusableOutput(
                f"{self.out}: the input has changed since this job began: other images stand where part "
                f"{part.number + 1} was; --restart begins anew"
            )

    def save(self, part: Part, columns: Columns) -> None:
        half = self._folder / "part.half"
        self._kind.write(half, columns)
        half.replace(self._folder / part.name(self._suffix))

    def join(self) -> Job:
        """Make the table of the parts, remove them, and say what it holds."""
        paths = sorted(self._folder.glob(f"*-*{self._suffix}"))
        parts = [Part.of(path) for path in paths]
        half = self._folder / "whole.half"
        self._kind.join(paths, half)
        half.replace(self.out)
        whole = self._job | {"rows": sum(part.rows for part in parts), "failed": sum(part.failed for part in parts)}
        self._write(whole)
        shutil.rmtree(self._folder)
        return whole

    def close(self) -> None:
        """Let go of the lock, and of the folder where it holds nothing else."""
        with suppress(OSError):
            self._lock_path.unlink()
            self._folder.rmdir()
        self._lock.close()

    @property
    def _lock_path(self) -> Path:
        return self._folder / "lock"

    @property
    def _suffix(self) -> str:
        return self.out.suffix.lower()

    def _locked(self) -> IO[str]:
        lock = self._lock_path.open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise UnusableOutput(f"{self.out}: another process writes this table now") from error
        return lock

    def _check(self) -> None:
        """Go on with the same job only, and with a table that was made here."""
        known = self._known()
        if not known and self.out.exists():
            raise UnusableOutput(f"{self.out} exists and is not of a job; name another file, or remove it")
        other = {name: known[name] for name in self._job if known and known.get(name) != self._job[name]}
        if other:
            was = ", ".join(f"{name} was {value!r} and is {self._job[name]!r}" for name, value in other.items())
            raise UnusableOutput(f"{self.out} belongs to another job: {was}; name another file, or give --restart")
        if not known:
            self._write(self._job)

    def _known(self) -> Job:
        try:
            known: Job = json.loads(self._about.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise UnusableOutput(f"{self._about} is damaged; `--restart` begins anew") from error
        return known

    def _write(self, about: Job) -> None:
        half = self._folder / "job.half"
        with half.open("w", encoding="utf-8") as file:
            json.dump(about, file, indent=2, ensure_ascii=False)
            to_disk(file)
        half.replace(self._about)


def remove(out: Path) -> None:
    """Remove a table of a job with all that belongs to it; what is no job's stays. Raises UnusableOutput."""
    about = out.with_name(f"{out.name}.job.json")
    if out.exists() and not about.exists():
        raise UnusableOutput(f"{out} exists and is not of a job; name another file, or remove it")
    shutil.rmtree(out.with_name(f"{out.name}.parts"), ignore_errors=True)
    for path in (out, about):
        path.unlink(missing_ok=True)
