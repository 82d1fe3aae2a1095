"""Which pictures of a data set are the same, and which are nearly the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from training.datasets.near_copies.likeness import are_alike
from training.datasets.near_copies.multi_index import MultiIndex
from training.datasets.near_copies.perceptual_hash import frequencies, hashes
from training.datasets.near_copies.small_picture import Grey, are_flat
from training.datasets.near_copies.windows import WINDOWS
from training.progress import Progress, silent

RADIUS = 12  # bits; docs/tuning.md#near-duplicates
LEAST_AGREEMENT = 0.8  # of the frequencies, as a cosine, before pictures are compared: it costs far less
COMPARED = 512  # pairs at a time
MOST_PARTNERS = 20  # of one picture that are compared: of 10,000 frames of one scene all pairs are too many

Floats = npt.NDArray[np.float32]
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


class _Candidates(NamedTuple):
    """Pairs (the picture that is cut, the other), int64 [n, 2]; how well they agree; and the window of the one."""

    pairs: Indices
    agreement: Floats
    windows: Indices

    def of(self, chosen: Indices) -> _Candidates:
        return _Candidates(self.pairs[chosen], self.agreement[chosen], self.windows[chosen])


def find_pairs(
    contents: npt.NDArray[np.uint64], grey: Grey, progress: Progress = silent, partners: int = MOST_PARTNERS
) -> Pairs:
    """Compare all pictures with all. `contents` are hashes of their pixels, uint64 [n].

    Pictures of one colour are nearly the same as none. Of the pictures that may be nearly the same as one, the most
    promising `partners` are compared.
    """
    _, first, which = np.unique(contents, return_index=True, return_inverse=True)
    origin = first[which]
    copies = np.flatnonzero(origin != np.arange(len(contents)))
    exact = np.stack([origin[copies], copies], axis=1).astype(np.int64)
    asked = np.sort(first[~are_flat(grey)[first]]).astype(np.int64)
    return Pairs(exact, asked[_near(grey[asked], progress, partners)])


def _near(grey: Grey, progress: Progress, partners: int) -> Indices:
    """Pairs of nearly the same pictures, int64 [n, 2]."""
    candidates = _most_promising(_candidates(grey, progress, partners), partners)
    alike = np.zeros(len(candidates.pairs), bool)
    for i in range(0, len(alike), COMPARED):
        pairs, _, windows = candidates.of(np.arange(i, min(i + COMPARED, len(alike))))
        one, other = (grey[pairs[:, side]].astype(np.float32) for side in (0, 1))
        alike[i : i + COMPARED] = are_alike(one, other, WINDOWS[windows])
        progress("comparing pairs", i + len(pairs), len(alike))
    return np.unique(np.sort(candidates.pairs[alike], axis=1), axis=0)


def _candidates(grey: Grey, progress: Progress, most: int) -> _Candidates:
    """Pairs whose hashes are near, each once, with the window by which they agree best.

    A picture is asked for with its `most` best ones alone, and with no further window once it has so many.
    """
    whole = frequencies(grey)
    codes, seen = hashes(whole), _unit(whole)
    best = _Candidates(np.empty((0, 2), np.int64), np.empty(0, np.float32), np.empty(0, np.int64))
    for window in range(len(WINDOWS)):
        cut = frequencies(grey, window)
        parts, found = _unit(cut), [best]
        asked = np.flatnonzero(np.bincount(best.pairs.ravel(), minlength=len(grey)) < most)
        for numbers, cut_ones in MultiIndex(hashes(cut)).near(codes[asked], RADIUS):
            whole_ones = asked[numbers]
            agreement = np.einsum("nk,nk->n", seen[whole_ones], parts[cut_ones])
            kept = (whole_ones != cut_ones) & (agreement >= LEAST_AGREEMENT)
            pairs = np.stack([cut_ones[kept], whole_ones[kept]], axis=1)
            found.append(_foremost(_Candidates(pairs, agreement[kept], np.full(len(pairs), window)), most))
        best = _best_of_each(_Candidates(*map(np.concatenate, zip(*found, strict=True))), len(grey))
        progress("comparing images", window + 1, len(WINDOWS))
    return best


def _foremost(found: _Candidates, most: int) -> _Candidates:
    """Of each picture that is not cut, the candidates that agree best."""
    order = np.lexsort((-found.agreement, found.pairs[:, 1]))
    whole_ones = found.pairs[order, 1]
    rank = np.arange(len(order)) - np.searchsorted(whole_ones, whole_ones)
    return found.of(order[rank < most])


def _best_of_each(found: _Candidates, count: int) -> _Candidates:
    """Of each two pictures, whichever of them is cut, the candidates that agree best."""
    order = np.argsort(-found.agreement, kind="stable")
    pairs = np.sort(found.pairs[order], axis=1)
    return found.of(order[np.unique(pairs[:, 0] * count + pairs[:, 1], return_index=True)[1]])


def _most_promising(found: _Candidates, most: int) -> _Candidates:
    """Those that agree best. A pair is left out where each of its pictures is in so many others already."""
    counts: dict[int, int] = defaultdict(int)
    chosen = []
    order = np.argsort(-found.agreement, kind="stable")
    for i, (one, other) in zip(order.tolist(), found.pairs[order].tolist(), strict=True):
        if min(counts[one], counts[other]) < most:
            counts[one] += 1
            counts[other] += 1
            chosen.append(i)
    return found.of(np.array(chosen, np.int64))


def _unit(rows: Floats) -> Floats:
    lengths = np.sqrt(np.einsum("nk,nk->n", rows, rows))[:, None]
    return np.asarray(rows / np.maximum(lengths, 1e-6))


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


def leaders(pairs: Pairs, digests: Sequence[bytes]) -> dict[bytes, bytes]:
    """For the digest of each picture that has copies or near copies, the smallest digest of all that are joined."""
    found: dict[bytes, bytes] = {}
    for group in groups(pairs.all, len(digests)):
        same = [digests[i] for i in group]
        found |= dict.fromkeys(same, min(same))
    return found
