"""The check of a data set: every kind of fault that is looked for, and what all of them found together."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from classifier.card import DataCheckRecord
from training.checking.classes.balance import find_imbalance
from training.checking.classes.features import Asked
from training.checking.classes.labels import find_outliers, find_wrong_labels
from training.checking.classes.mirrors import find_mirrored_classes
from training.checking.classes.shortcuts import find_shortcuts
from training.checking.evidence import Evidence
from training.checking.files.faults import find_faults
from training.checking.finding import Finding, Kind, by_severity
from training.checking.leaks import find_duplicates
from training.checking.pictures import pictures_of, read_pictures
from training.datasets.dataset import Dataset, Skipped, printable
from training.datasets.listing import Listing
from training.datasets.near_copies import find_pairs
from training.progress import Progress, silent

CHECKS: dict[str, Callable[[Evidence], list[Finding]]] = {
    "files": find_faults,
    "duplicates": find_duplicates,
    "shortcuts": find_shortcuts,
    "mirrors": find_mirrored_classes,
    "labels": find_wrong_labels,
    "balance": find_imbalance,
    "outliers": find_outliers,
}
FEW = 8  # copies of one image that a fit looks for; it counts images, not pairs
OF_A_FIT = ("duplicates", "shortcuts")  # those that cost next to nothing once the images are decoded

STRICT: tuple[Kind, ...] = ("leak", "conflict")  # what `--strict` does not let by


@dataclass(frozen=True)
class Checked:
    """What a check found in one data set, the most severe first. `images` counts those that were read, by split.

    `features` names what labels were judged by; None where they were not.
    """

    name: str
    classes: tuple[str, ...]
    images: dict[str, int]
    findings: tuple[Finding, ...]
    seconds: float
    features: str | None = None

    @property
    def is_strictly_sound(self) -> bool:
        """Whether there is neither a leak nor a conflict."""
        return not any(each.kind in STRICT for each in self.findings)

    @property
    def record(self) -> DataCheckRecord:
        """What a card says of it."""
        return DataCheckRecord(
            leaked={each.split: each.images for each in self.findings if each.split},
            conflicts=sum(each.images for each in self.findings if each.kind == "conflict"),
            shortcuts=tuple(each.title for each in self.findings if each.kind == "shortcut"),
        )


def check(listing: Listing, progress: Progress = silent, features: Asked = "none") -> Checked:
    """Read every image of a listing, and look for every kind of fault.

    Labels, outliers and mirrored classes are looked at by `features`, where those are asked for.
    """
    began = time.monotonic()
    read = read_pictures(listing, progress)
    unreadable = tuple(Skipped(printable(file), reason) for file, reason in read.unreadable.items())
    evidence = Evidence(
        read.pictures,
        read.pairs,
        read.sights,
        unreadable,
        listing.left_out,
        listing.warnings,
        read.refused,
        progress,
        listing,
        features,
    )
    return _checked(listing.name, evidence, tuple(CHECKS), began)


def check_decoded(dataset: Dataset, progress: Progress = silent) -> Checked:
    """Only what costs next to nothing once the images are decoded, as they are for a fit."""
    began = time.monotonic()
    pictures = pictures_of(dataset, progress)
    evidence = Evidence(pictures, find_pairs(pictures.contents, pictures.grey, progress, FEW), progress=progress)
    return _checked(dataset.name, evidence, OF_A_FIT, began)


def _checked(name: str, evidence: Evidence, checks: tuple[str, ...], began: float) -> Checked:
    findings = by_severity([each for check in checks for each in CHECKS[check](evidence)])
    pictures = evidence.pictures
    seconds = time.monotonic() - began
    return Checked(name, pictures.classes, pictures.split_counts, findings, seconds, evidence.feature_name)
