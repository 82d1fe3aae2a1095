"""Which pictures of a data set are the same, and which are nearly the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from training.checking.duplicates.likeness import are_alike
from training.checking.duplicates.multi_index import MultiIndex
from training.checking.duplicates.perceptual_hash import frequencies, hashes
from training.checking.duplicates.windows import WINDOWS
from training.checking.pictures import Pictures
from training.progress import Progress, silent

RADIUS = 12  # bits; docs/tuning.md#near-duplicates
LEAST_AGREEMENT = 0.8  # of the frequencies, as a cosine, before pictures are compared: it costs far less
COMPARED = 512  # pairs at a time
MOST_PARTNERS = 50  # of one picture that are compared: of 10,000 frames of one scene all pairs are too many

Indices = npt.NDArray[np.int64]


class Pairs(NamedTuple):
    """Indices of pictures, int64 [n, 2] each, the lower first and ascending.

    `exact` joins every picture to the first one with the same pixels. `near` are pairs of other pictures that are
    nearly the same, of which those with the same pixels have one member only.
    """

    exact: Indices
    near: Indices

    @property
    def all(self) -> Indices:
        """Both."""
        return np.concatenate([self.exact, self.near])


def find_pairs(pictures: Pictures, progress: Progress = silent, partners: int = MOST_PARTNERS) -> Pairs:
    """Compare all pictures with all. Pictures of one colour are nearly the same as none.

    Of the pictures that may be nearly the same as one, the most promising `partners` are compared.
    """
    _, first, which = np.unique(pictures.contents, return_index=True, return_inverse=True)
    origin = first[which]
    copies = np.flatnonzero(origin != np.arange(len(pictures)))
    exact = np.stack([origin[copies], copies], axis=1).astype(np.int64)
    asked = np.sort(first[~pictures.flat[first]]).astype(np.int64)
    return Pairs(exact, asked[_near(pictures.grey[asked], progress, partners)])


def _near(grey: npt.NDArray[np.uint8], progress: Progress, partners: int) -> Indices:
    """Pairs of nearly the same pictures, int64 [n, 2]."""
    if not len(grey):
        return np.empty((0, 2), np.int64)
    whole = hashes(grey)
    seen = _unit(frequencies(grey))
    found: dict[tuple[int, int], tuple[float, int]] = {}
    done = 0
    for window in range(len(WINDOWS)):
        parts = _unit(frequencies(grey, window))
        for asked, entries in MultiIndex(hashes(grey, window)).near(whole, RADIUS):
            agreement = np.einsum("nk,nk->n", seen[asked], parts[entries])
            kept = (asked != entries) & (agreement >= LEAST_AGREEMENT)
            for whole_one, cut_one, how in zip(asked[kept], entries[kept], agreement[kept], strict=True):
                key = int(cut_one), int(whole_one)
                found[key] = max(found.get(key, (-1.0, 0)), (float(how), window))
            done += 1
            progress("comparing images", done, len(WINDOWS) * -(-len(grey) // 256))
    return _confirmed(grey, _most_promising(found, partners), progress)


def _confirmed(
    grey: npt.NDArray[np.uint8], candidates: list[tuple[tuple[int, int], int]], progress: Progress
) -> Indices:
    """The pairs that are alike when one is laid over the other."""
    pairs = np.array([pair for pair, _ in candidates], np.int64).reshape(-1, 2)
    windows = WINDOWS[[window for _, window in candidates]].reshape(-1, 4)
    alike = np.zeros(len(pairs), bool)
    for i in range(0, len(pairs), COMPARED):
        one, other = (grey[pairs[i : i + COMPARED, side]].astype(np.float32) for side in (0, 1))
        alike[i : i + COMPARED] = are_alike(one, other, windows[i : i + COMPARED])
        progress("comparing pairs", min(i + COMPARED, len(pairs)), len(pairs))
    return np.unique(np.sort(pairs[alike], axis=1), axis=0)


def _most_promising(found: dict[tuple[int, int], tuple[float, int]], most: int) -> list[tuple[tuple[int, int], int]]:
    """Pairs (the one that is cut, the other) with the window that agrees best, once for each pair of pictures."""
    best: dict[tuple[int, int], tuple[float, int, tuple[int, int]]] = {}
    for pair, (how, window) in found.items():
        key = min(pair), max(pair)
        if key not in best or how > best[key][0]:
            best[key] = how, window, pair
    counts: dict[int, int] = defaultdict(int)
    chosen = []
    for _, window, pair in sorted(best.values(), key=lambda each: -each[0]):
        if min(counts[pair[0]], counts[pair[1]]) < most:
            counts[pair[0]] += 1
            counts[pair[1]] += 1
            chosen.append((pair, window))
    return chosen


def _unit(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    lengths = np.sqrt(np.einsum("nk,nk->n", rows, rows))[:, None]
    unit: npt.NDArray[np.float32] = rows / np.maximum(lengths, 1e-6)
    return unit


def groups(pairs: Indices, count: int) -> list[Sequence[int]]:
    """Pictures that are joined by pairs, directly or by others: ascending, groups of two or more."""
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for one, other in pairs.tolist():
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    members: dict[int, list[int]] = defaultdict(list)
    for i in {int(i) for i in pairs.ravel()}:
        members[root(i)].append(i)
    return [sorted(each) for _, each in sorted(members.items())]
