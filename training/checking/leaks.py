"""What pictures that are there twice mean: the accuracy is flattered, a label is contradicted, or nothing much."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.checking.evidence import Evidence
from training.checking.finding import Case, Finding, Severity
from training.checking.pictures import Pictures
from training.datasets.dataset import printable
from training.datasets.near_copies import Pairs, groups

FITTED_ON = {"test": ("train", "validation"), "validation": ("train",)}  # what an image must not be known from
STATED = 0.95  # an accuracy, as an example of what a leak does to one

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Leak:
    """Images of a held-out split that are there again in what the network was fitted or chosen on.

    `twins` are pairs of indices, the held-out one first, once for each. `exact` counts those with the same pixels.
    """

    split: str
    images: int  # of the whole split
    twins: Indices
    exact: int

    @property
    def share(self) -> float:
        return len(self.twins) / self.images


def find_duplicates(evidence: Evidence) -> list[Finding]:
    """Leaks between splits, contradicting labels, and copies that do neither."""
    pictures, pairs = evidence.pictures, evidence.pairs
    found = [_leak_finding(pictures, leak) for leak in leaks(pictures, pairs)]
    found += _conflicts(pictures, pairs)
    return [*found, *_copies(pictures, pairs)]


def leaks(pictures: Pictures, pairs: Pairs) -> Iterator[Leak]:
    """One for each held-out split that has any."""
    splits = np.array(pictures.splits)
    both = both_ways(expanded(pictures, pairs))
    exact = pictures.contents[both[:, 0]] == pictures.contents[both[:, 1]]
    first = np.argsort(~exact, kind="stable")  # of an image's twins, the one with the same pixels
    both, exact = both[first], exact[first]
    for split, fitted in FITTED_ON.items():
        across = (splits[both[:, 0]] == split) & np.isin(splits[both[:, 1]], fitted)
        if across.any():
            _, once = np.unique(both[across, 0], return_index=True)
            yield Leak(split, int((splits == split).sum()), both[across][once], int(exact[across][once].sum()))


def conflicting(pictures: Pictures, pairs: Pairs) -> Indices:
    """Pairs under two labels."""
    every = expanded(pictures, pairs)
    differ = pictures.labels[every[:, 0]] != pictures.labels[every[:, 1]]
    return np.asarray(every[differ])


def both_ways(pairs: Indices) -> Indices:
    """Each pair, and each turned round."""
    return np.concatenate([pairs, pairs[:, ::-1]])


def expanded(pictures: Pictures, pairs: Pairs) -> Indices:
    """All pairs, also those of copies with each other and with what the picture they are copies of is near to."""
    copies: dict[int, list[int]] = {}
    for first, copy in pairs.exact.tolist():
        copies.setdefault(first, [first]).append(copy)
    found = [(a, b) for same in copies.values() for i, a in enumerate(same[:COPIES]) for b in same[i + 1 :]]
    for one, other in pairs.near.tolist():
        found += [(a, b) for a in copies.get(one, [one])[:COPIES] for b in copies.get(other, [other])]
    return np.array(found, np.int64).reshape(-1, 2)


COPIES = 50  # of one picture that are paired with all others; there are files of which a thousand copies exist


def _leak_finding(pictures: Pictures, leak: Leak) -> Finding:
    count, known = len(leak.twins), " or ".join(FITTED_ON[leak.split])
    nearly = f", {leak.exact:,} of them pixel for pixel" if 0 < leak.exact < count else ""
    share = f"{leak.share:.1%}" if leak.share < 0.995 else f"{leak.share:.0%}"
    verb = "images is" if count == 1 else "images are"
    return Finding(
        "leak",
        "problem",
        f"{count:,} of {leak.images:,} {leak.split} {verb} in {known} too ({share}){nearly}",
        f"{_flattery(leak)} Keep all copies of a picture in one split.",
        count,
        tuple(
            Case(
                _names(pictures, pair),
                f"{pictures.splits[pair[0]]} and {pictures.splits[pair[1]]}: {_how(pictures, pair)}",
            )
            for pair in leak.twins.tolist()
        ),
        leak.split,
    )


def _flattery(leak: Leak) -> str:
    """What an accuracy may be worth if every image that is known is answered by heart."""
    if leak.share >= STATED / 2:
        return f"The accuracy on {leak.split} says little of images that are new."
    known = (STATED - leak.share) / (1 - leak.share)
    return f"The accuracy on {leak.split} is flattered: {STATED} may stand for {known:.3f} on images that are new."


def _conflicts(pictures: Pictures, pairs: Pairs) -> Iterator[Finding]:
    found = conflicting(pictures, pairs)
    same = pictures.contents[found[:, 0]] == pictures.contents[found[:, 1]]
    kinds: tuple[tuple[Indices, Severity, str, str], ...] = (
        (found[same], "problem", "lie under two labels", "One of the labels is wrong. A fit refuses byte-equal ones."),
        (
            found[~same],
            "warning",
            "are nearly the same as one under another label",
            "Look which label is right, or whether the classes differ in a detail only.",
        ),
    )
    for chosen, severity, what, advice in kinds:
        if len(chosen):
            images = len(np.unique(chosen))
            cases = (
                Case(
                    _names(pictures, pair),
                    f"{pictures.label(pair[0])} and {pictures.label(pair[1])}: {_how(pictures, pair)}",
                )
                for pair in chosen.tolist()
            )
            yield Finding("conflict", severity, f"{images:,} images {what}", advice, images, tuple(cases))


def _copies(pictures: Pictures, pairs: Pairs) -> Iterator[Finding]:
    """Groups that neither leak nor contradict: they only count more often than others."""
    for kind, joined, what in (
        ("copies", pairs.exact, "copies, pixel for pixel,"),
        ("near-copies", pairs.near, "nearly the same as others"),
    ):
        quiet = [group for group in groups(joined, len(pictures)) if _is_quiet(pictures, group)]
        if not quiet:
            continue
        more = sum(len(group) - 1 for group in quiet)
        cases = (Case(_names(pictures, group), f"{len(group)} times, {_where(pictures, group[0])}") for group in quiet)
        yield Finding(
            "copies" if kind == "copies" else "near-copies",
            "note",
            f"{more:,} {'image is' if more == 1 else 'images are'} {what} within one split and class",
            "They count more often than others, and teach nothing new.",
            more,
            tuple(cases),
        )


def _is_quiet(pictures: Pictures, group: Sequence[int]) -> bool:
    return len({(pictures.splits[i], int(pictures.labels[i])) for i in group}) == 1


def _where(pictures: Pictures, i: int) -> str:
    return f"{pictures.splits[i]}, {pictures.label(i)}"


def _how(pictures: Pictures, pair: Sequence[int]) -> str:
    return "the same pixels" if pictures.contents[pair[0]] == pictures.contents[pair[1]] else "nearly the same"


def _names(pictures: Pictures, chosen: Iterable[int]) -> tuple[str, ...]:
    return tuple(printable(pictures.names[i]) for i in chosen)
