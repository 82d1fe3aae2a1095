"""A check as lines for a terminal, and as JSON."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from classifier.card import DataCheckRecord
from training.checking.check import Checked
from training.checking.finding import SEVERITIES, Case, Finding

SHOWN = 5  # cases of a finding; the page shows more, JSON all
MOST_WARNINGS = 5  # lines before a fit
NAMED = 4  # files of a case


def verdict(checked: Checked) -> str:
    """One sentence on the whole."""
    images = sum(checked.images.values())
    counts = {severity: sum(each.severity == severity for each in checked.findings) for severity in SEVERITIES}
    on = f"{checked.name}: {images:,} images of {len(checked.classes)} classes"
    if not checked.findings:
        return f"{on}; nothing was found"
    said = ", ".join(f"{n} {severity}{'' if n == 1 else 's'}" for severity, n in counts.items() if n)
    return f"{on}; {said}"


def features_line(checked: Checked) -> str:
    """What labels, outliers and mirrored classes were judged by."""
    if checked.features is None:
        return "Labels were not judged: no features were asked for."
    return f"Labels were judged by {checked.features}."


def lines(checked: Checked) -> list[str]:
    """The verdict, then each finding with what to do and its first cases."""
    return [
        verdict(checked),
        features_line(checked),
        *(line for each in checked.findings for line in ("", *_finding_lines(each))),
    ]


def warnings(checked: Checked, data: Path) -> list[str]:
    """What `fit` says of it, in at most MOST_WARNINGS lines; none where nothing was found."""
    found = [each for each in checked.findings if each.severity != "note"]
    if not found:
        return []
    shown = found if len(found) < MOST_WARNINGS else found[: MOST_WARNINGS - 2]
    more = [f"note: {len(found) - len(shown)} more of the kind"] if len(found) > len(shown) else []
    look = f"note: sightline check {shlex.quote(str(data))} names the images"
    return [*(f"note: {each.title}" for each in shown), *more, look]


def record_line(record: DataCheckRecord, images: Mapping[str, int]) -> str:
    """What a card says of a check; `images` are those of each split."""
    said = [
        f"{count:,} of {images.get(split, count):,} {split} images known from training"
        for split, count in record.leaked.items()
    ]
    if record.conflicts:
        said.append(f"{record.conflicts:,} images under two labels")
    if record.shortcuts:
        said.append("shortcuts: " + "; ".join(record.shortcuts))
    return ", ".join(said) or "no copies across splits, no conflicts"


def as_json(checked: Checked) -> str:
    """Everything, with all cases."""
    return json.dumps({"format": 1, **asdict(checked), "seconds": round(checked.seconds, 1)}, indent=2)


def case_text(case: Case) -> str:
    """Files and what is said of them, on one line."""
    more = f" and {len(case.files) - NAMED:,} more" if len(case.files) > NAMED else ""
    return f"{', '.join(case.files[:NAMED])}{more}: {case.said}" if case.files else case.said


def _finding_lines(finding: Finding) -> list[str]:
    shown = [f"  {case_text(case)}" for case in finding.cases[:SHOWN]]
    more = [f"  and {len(finding.cases) - SHOWN:,} more"] if len(finding.cases) > SHOWN else []
    return [f"{finding.severity}: {finding.title}", f"  {finding.advice}", *shown, *more]
