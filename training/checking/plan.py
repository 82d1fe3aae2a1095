"""What could be done about the findings, file by file: a plan that a person edits before anything is made of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from training.checking.check import Checked
from training.checking.finding import Case, Finding
from training.errors import DatasetError

Action = Literal["keep", "drop", "move", "relabel"]
COLUMNS = ("action", "file", "to", "reason")


@dataclass(frozen=True)
class Step:
    """One line of a plan. `to` is a label for "relabel" and a split for "move"; else empty."""

    action: Action
    file: str
    to: str
    reason: str


def plan(checked: Checked) -> list[Step]:
    """A step for each file that something should be done about, the first finding of a file decides.

    Of copies the first one is kept; of a leak the one that was trained on is dropped, so that the test stays as it is.
    What only looks wrong is kept unless a person says otherwise: the plan names what could be done.
    """
    steps: dict[str, Step] = {}
    for finding in checked.findings:
        for case in finding.cases:
            for step in _steps(finding, case):
                steps.setdefault(step.file, step)
    return list(steps.values())


def _steps(finding: Finding, case: Case) -> Iterator[Step]:
    if finding.kind in ("unreadable", "blank", "stray"):
        yield Step("drop", case.files[0], "", case.said)
    elif finding.kind == "leak":
        yield Step("drop", case.files[1], "", f"in {case.said} as {case.files[0]}")
    elif finding.kind == "copies":
        yield from (Step("drop", file, "", f"the same pixels as {case.files[0]}") for file in case.files[1:])
    elif finding.kind == "near-copies":
        like = f"nearly the same as {case.files[0]}; drop it if it shows nothing new"
        yield from (Step("keep", file, "", like) for file in case.files[1:])
    elif finding.kind == "conflict":
        yield from (Step("keep", file, "", f"{case.said}; drop one, or relabel it") for file in case.files)
    elif finding.kind == "label":
        yield Step("keep", case.files[0], case.suggested or "", f"{case.said}; relabel it if that is so")


def write_plan(steps: list[Step], path: Path) -> None:
    """Write the plan as CSV, UTF-8. A cell that a spreadsheet would take for a formula begins with an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([step.action, *map(_as_text, (step.file, step.to, step.reason))] for step in steps)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(out.getvalue(), encoding="utf-8")


def read_plan(path: Path) -> list[Step]:
    """Read what `write_plan` wrote, and a person has edited. Raises DatasetError naming the line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: expected a plan in UTF-8 ({error}); save it so") from error
    rows = csv.DictReader(io.StringIO(text, newline=""))
    if not rows.fieldnames or not set(COLUMNS[:3]) <= set(rows.fieldnames):
        raise DatasetError(f"{path}: expected the columns {', '.join(COLUMNS)}, got {', '.join(rows.fieldnames or ())}")
    return [_read(path, rows.line_num, row) for row in rows]


def _read(path: Path, line: int, row: Mapping[str, str | None]) -> Step:
    action, file, to, reason = (_plain((row.get(column) or "").strip()) for column in COLUMNS)
    if action not in get_args(Action):
        raise DatasetError(f"{path}, line {line}: expected {', '.join(get_args(Action))} as action, got {action!r}")
    if not file:
        raise DatasetError(f"{path}, line {line}: names no file")
    if action in ("move", "relabel") and (not to or "/" in to or to in (".", "..")):
        wanted = f"{action} needs the name of a {_TARGET[action]} in the column to"
        raise DatasetError(f"{path}, line {line}: {wanted}, got {to!r}")
    return Step(action, file, to, reason)  # type: ignore[arg-type]  # it is one of them


_TARGET = {"move": "split", "relabel": "class"}


def _as_text(cell: str) -> str:
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "'", "\t", "\r") else cell


def _plain(cell: str) -> str:
    return cell.removeprefix("'")
