"""The splits of class folders: files whose folder says which stay there, the others are dealt out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.datasets.content import content_hashes
from training.datasets.dataset import Skipped, Split, gathered
from training.datasets.decoding import LabelledFile
from training.datasets.folders.assignment import Digest, assign
from training.datasets.folders.contents import PlacedFile
from training.datasets.folders.labels import in_order
from training.datasets.folders.layout import ALL
from training.datasets.listing import Leaders
from training.datasets.near_copies import find_pairs, grey_pictures, leaders
from training.datasets.sampling import spread
from training.errors import DatasetError
from training.progress import Counted, Progress

SPLITS = ("train", "validation", "test")
Plan = dict[str, list[LabelledFile]]


@dataclass(frozen=True)
class Dealer:
    """Deals files by their `digests`; each of `fractions` is the part that is expected in a split besides train.

    `found` are all files, also those that are not dealt; `left_out` says why of some.
    """

    path: Path
    found: Sequence[PlacedFile]
    digests: Mapping[str, Digest]
    fractions: Mapping[str, float]
    seed: int
    left_out: Sequence[Skipped] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes in column order."""
        return in_order(file.label for file in self.found)

    def plan(
        self, files: Sequence[PlacedFile], damaged: Sequence[Skipped] = (), near_copies: Leaders | None = None
    ) -> Plan:
        """The files of the three splits: those that are given, and the others assigned out of train.

        Raises DatasetError where a class has too few files; it says how many others there are, and why one is left out.
        """
        missing = self._missing(files)
        splits = ("train", *sorted(missing, reverse=True))
        plan: Plan = {name: [] for name in SPLITS}
        for column, label in enumerate(self.labels):
            in_class = [file for file in files if file.label == label]
            dealt = [file for file in in_class if file.split in (ALL, "train")]
            if len(dealt) < len(splits):
                has = "1 image" if len(dealt) == 1 else f"{len(dealt)} images"
                raise DatasetError(
                    f"{self.path}: class {label} has {has}{self._besides(label, dealt, damaged)}, and "
                    f"{', '.join(splits)} need one each at least; add photos or remove the class"
                )
            assigned = assign([self.digests[file.name] for file in dealt], missing, self.seed, near_copies)
            given = [(file, file.split) for file in in_class if file.split not in (ALL, "train")]
            for file, split in (*zip(dealt, assigned, strict=True), *given):
                plan[split].append(LabelledFile(file.name, column))
        return plan

    def together(
        self, splits: Mapping[str, Split], files: Sequence[PlacedFile], limit: int | None, progress: Progress
    ) -> dict[str, Split]:
        """The same decoded images, dealt anew so that near copies share a split."""
        if not self._missing(files):
            return dict(splits)
        names = [name for split in splits.values() for name in split.files or ()]
        near_copies, decoded = self._leaders(splits.values(), names, progress), {*names}
        plan = self.plan([file for file in files if file.name in decoded], near_copies=near_copies)
        chosen = {name: [of[i].name for i in spread([f.label for f in of], limit)] for name, of in plan.items()}
        if all(splits[name].files == tuple(of) for name, of in chosen.items()):
            return dict(splits)  # as most often: gathering them takes their memory twice
        return {name: gathered(splits.values(), of) for name, of in chosen.items()}

    def _missing(self, files: Sequence[PlacedFile]) -> dict[str, float]:
        given = {file.split for file in files}
        return {name: fraction for name, fraction in self.fractions.items() if name not in given}

    def _besides(self, label: str, dealt: Sequence[PlacedFile], damaged: Sequence[Skipped]) -> str:
        """As ` besides 3 files that are left out (the file is empty)`, of one class."""
        others = {file.name for file in self.found if file.label == label and file.split in (ALL, "train")}
        others -= {file.name for file in dealt}
        count = "one file that is" if len(others) == 1 else f"{len(others):,} files that are"
        why = next((f" ({each.reason})" for each in (*damaged, *self.left_out) if each.file in others), "")
        return f" besides {count} left out{why}" if others else ""

    def _leaders(self, splits: Iterable[Split], names: Sequence[str], progress: Progress) -> Leaders:
        counted = Counted(progress, "looking for near copies", len(names))
        seen = [(content_hashes(split.pixels), grey_pictures(split.pixels, counted)) for split in splits]
        contents, grey = (np.concatenate(of_all) for of_all in zip(*seen, strict=True))
        return leaders(find_pairs(contents, grey, progress), [self.digests[name] for name in names])
