"""Pictures that are nearly the same, known from small grey copies of them."""

from __future__ import annotations

from training.datasets.near_copies.pairs import Pairs, find_pairs, groups, leaders
from training.datasets.near_copies.small_picture import SIDE, are_flat, grey_pictures, shrunk

__all__ = ["SIDE", "Pairs", "are_flat", "find_pairs", "grey_pictures", "groups", "leaders", "shrunk"]
