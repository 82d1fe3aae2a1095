"""Which images go where: a seeded part held out, and a limit spread evenly over the classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from training.errors import DatasetError

Indices = npt.NDArray[np.int64]


def check_fraction(name: str, fraction: float) -> None:
    """Raise DatasetError unless 0 < fraction < 1."""
    if not 0.0 < fraction < 1.0:
        raise DatasetError(f"{name}={fraction}: expected a part between 0 and 1, as in 0.2")


def hold_out(count: int, fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Split `count` indices at random into (kept, held out), each ascending; the same seed gives the same split."""
    shuffled = np.random.default_rng(seed).permutation(count)
    held = round(count * fraction)
    return np.sort(shuffled[held:]), np.sort(shuffled[:held])


def spread(labels: Sequence[int] | Indices, limit: int | None) -> Indices:
    """Indices, ascending, of at most `limit` images, whose numbers per class differ by one at most.

    The first images of each class are taken; where a class has too few, the others fill up. No limit takes all.
    Raises DatasetError when the limit is too small for one image of each class.
    """
    classes = np.asarray(labels, dtype=np.int64)
    if limit is None:
        return np.arange(len(classes))
    present = len(np.unique(classes))
    if limit < present:
        raise DatasetError(f"limit={limit} is fewer than one image of each of {present} classes; ask for {present}")
    by_turns = np.lexsort((classes, _rank_in_class(classes)))
    return np.sort(by_turns[:limit])


def _rank_in_class(classes: Indices) -> Indices:
    """For each image, how many of its class came before it."""
    order = np.argsort(classes, kind="stable")
    grouped = classes[order]
    ranks = np.empty_like(classes)
    ranks[order] = np.arange(len(classes)) - np.searchsorted(grouped, grouped)
    return ranks
