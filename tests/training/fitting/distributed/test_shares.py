"""What each of several replicas gets of a batch, and of what it is validated on."""

from __future__ import annotations

import numpy as np
import pytest

from training.datasets.dataset import Split
from training.fitting.batches import Batches
from training.fitting.distributed.epochs import VALIDATION_BATCH, Pieces


def split(images: int) -> Split:
    numbers = np.arange(images)
    return Split(np.zeros((images, 1, 1, 1), np.uint8), numbers.astype(np.int64))


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_the_shares_of_a_batch_are_that_batch(replicas: int):
    batches = Batches(split(50), 8, seed=3, replicas=replicas)
    for index in range(batches.steps):
        shares = [batches.share(index, replica)[1] for replica in range(replicas)]
        assert sorted(np.concatenate(shares)) == sorted(batches[index][1])
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        assert min(map(len, shares)) > 0


def test_a_last_batch_that_is_too_small_to_share_is_left_out():
    assert Batches(split(50), 8, seed=0, replicas=2).steps == 7
    assert Batches(split(50), 8, seed=0, replicas=3).steps == 6


@pytest.mark.parametrize("images", [2, 3, 257, 1_000])
@pytest.mark.parametrize("replicas", [1, 2])
def test_the_pieces_of_a_split_are_that_split(images: int, replicas: int):
    pieces = Pieces(split(images), replicas)
    shares = [pieces.share(step, replica)[1] for step in range(pieces.steps) for replica in range(replicas)]
    assert np.concatenate(shares).tolist() == list(range(images))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert 0 < max(map(len, shares)) <= VALIDATION_BATCH
