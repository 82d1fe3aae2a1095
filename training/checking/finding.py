"""What a check finds: sentences for a person, words and figures for a machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Severity: TypeAlias = Literal["problem", "warning", "note"]  # most severe first
SEVERITIES: tuple[Severity, ...] = ("problem", "warning", "note")

Kind: TypeAlias = Literal[
    "refused",
    "unreadable",
    "misnamed",
    "animated",
    "size",
    "blank",
    "stray",
    "classes",
    "leak",
    "conflict",
    "copies",
    "near-copies",
    "balance",
    "shortcut",
    "mirrored",
    "label",
    "outlier",
]


@dataclass(frozen=True)
class Case:
    """One instance of a finding: the files it concerns, and what is said of them.

    `score` orders the cases, the worst first; what it measures the finding says. `suggested` is another label.
    """

    files: tuple[str, ...]
    said: str
    score: float | None = None
    suggested: str | None = None


@dataclass(frozen=True)
class Finding:
    """One kind of fault: how severe it is, what was found in one sentence, what to do about it, and each case.

    `images` counts the images concerned, which may be more than the cases show. `split` is that of a leak.
    """

    kind: Kind
    severity: Severity
    title: str
    advice: str
    images: int
    cases: tuple[Case, ...] = ()
    split: str | None = None


def by_severity(findings: list[Finding]) -> tuple[Finding, ...]:
    """Problems first, then warnings, then notes; within each as they come."""
    return tuple(sorted(findings, key=lambda each: SEVERITIES.index(each.severity)))
