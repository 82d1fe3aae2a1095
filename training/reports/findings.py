"""What was found in a data set, in lines for a person: classes and counts, warnings, and files left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training.datasets.dataset import Dataset, Skipped

SHOWN = 10  # classes, and files left out


def class_lines(dataset: Dataset) -> list[str]:
    """A line for each class with its images by split, as `cup: 62 train, 20 validation, 18 test`."""
    lines = [
        f"  {label}: {', '.join(f'{count:,} {split}' for split, count in counts.items())}"
        for label, counts in dataset.class_counts.items()
    ]
    more = [f"  and {len(lines) - SHOWN:,} more classes"] if len(lines) > SHOWN else []
    return lines[:SHOWN] + more


def left_out_lines(skipped: Sequence[Skipped], listing: Path) -> list[str]:
    """Up to ten files with the reason of each; where there are more, all are written to the file `listing`."""
    if not skipped:
        return []
    lines = [f"{len(skipped):,} {'files are' if len(skipped) > 1 else 'file is'} left out:"]
    lines += [f"  {each}" for each in skipped[:SHOWN]]
    if len(skipped) > SHOWN:
        listing.parent.mkdir(parents=True, exist_ok=True)
        listing.write_text("".join(f"{each}\n" for each in skipped), encoding="utf-8")
        lines.append(f"  and {len(skipped) - SHOWN:,} more, all in {listing}")
    return lines


def findings(dataset: Dataset, listing: Path) -> list[str]:
    """All that a person should see of a data set before a fit."""
    warnings = [f"note: {each}" for each in dataset.warnings]
    return [dataset.describe(), *class_lines(dataset), *warnings, *left_out_lines(dataset.skipped, listing)]
