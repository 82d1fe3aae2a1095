from __future__ import annotations

import numpy as np

from training.datasets.dataset import Split
from training.fitting.batches import Batches


def split(images: int = 10) -> Split:
    numbers = np.arange(images)
    return Split(numbers.astype(np.uint8).reshape(-1, 1, 1, 1), numbers.astype(np.int64))


def labels_of(batches: Batches, epochs: int, first: int = 0) -> list[list[int]]:
    seen = []
    for epoch in range(first, first + epochs):
        batches.epoch = epoch
        seen.append([int(label) for i in range(len(batches)) for label in batches[i][1]])
    return seen


def test_an_epoch_shows_every_image_once():
    assert sorted(labels_of(Batches(split(), 4, seed=0), 1)[0]) == list(range(10))


def test_every_epoch_has_another_order():
    first, second = labels_of(Batches(split(), 4, seed=0), 2)
    assert first != second


def test_the_order_follows_from_the_seed():
    assert labels_of(Batches(split(), 4, seed=1), 3) == labels_of(Batches(split(), 4, seed=1), 3)
    assert labels_of(Batches(split(), 4, seed=1), 3) != labels_of(Batches(split(), 4, seed=2), 3)


def test_a_run_resumed_at_the_third_epoch_sees_what_an_uninterrupted_one_sees():
    whole = labels_of(Batches(split(), 4, seed=0, steps=2), 5)
    assert labels_of(Batches(split(), 4, seed=0, steps=2), 3, first=2) == whole[2:]


def test_a_short_epoch_goes_on_where_the_last_one_stopped():
    first, second, third = labels_of(Batches(split(), 4, seed=0, steps=1), 3)
    assert sorted(first + second + third) == list(range(10))


def test_a_long_epoch_goes_over_the_images_again():
    (seen,) = labels_of(Batches(split(), 4, seed=0, steps=6), 1)
    assert sorted(seen) == sorted([*range(10), *range(10)])


def seen_of(batches: Batches, epoch: int) -> dict[int, list[int]]:
    """The pixels of each image's row in an epoch, by label."""
    batches.epoch = epoch
    shown = [batches[i] for i in range(len(batches))]
    return {int(label): row.ravel().tolist() for rows, labels in shown for row, label in zip(rows, labels, strict=True)}


def test_with_an_alternating_flip_each_image_is_mirrored_every_other_epoch():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 1, 3, 1), np.uint8)
    batches = Batches(Split(pixels, np.arange(40)), 8, seed=0, alternating_flip=True)
    epochs = [seen_of(batches, epoch) for epoch in range(3)]
    for image, (row,) in enumerate(pixels[..., 0].tolist()):
        assert sorted([epochs[0][image], epochs[1][image]]) == sorted([row, row[::-1]])
        assert epochs[2][image] == epochs[0][image]
    begun = sum(epochs[0][image] == row for image, (row,) in enumerate(pixels[..., 0].tolist()))
    assert 10 <= begun <= 30  # about half of them begin as they are
    assert seen_of(Batches(Split(pixels, np.arange(40)), 8, seed=0, alternating_flip=True), 1) == epochs[1]


def test_each_image_is_seen_as_jpeg_every_other_epoch():
    pixels = np.random.default_rng(0).integers(0, 100, (40, 1, 3, 1), np.uint8)
    images = Split(pixels, np.arange(40), as_jpeg=lambda: pixels + 100)
    epochs = [seen_of(Batches(images, 8, seed=0), epoch) for epoch in range(3)]
    for image, row in enumerate(pixels.reshape(40, 3).tolist()):
        encoded = [value + 100 for value in row]
        assert sorted([epochs[0][image], epochs[1][image]]) == sorted([row, encoded])
        assert epochs[2][image] == epochs[0][image]
    assert 10 <= sum(row[0] >= 100 for row in epochs[0].values()) <= 30  # about half of them begin so


def test_an_image_as_jpeg_is_mirrored_in_its_turn():
    pixels = np.random.default_rng(0).integers(0, 100, (40, 1, 3, 1), np.uint8)
    images = Split(pixels, np.arange(40), as_jpeg=lambda: pixels + 100)
    flipped, plain = (seen_of(Batches(images, 8, seed=0, alternating_flip=flip), 0) for flip in (True, False))
    mirrored = [image for image in range(40) if flipped[image] != plain[image]]
    assert all(flipped[image] == plain[image][::-1] for image in mirrored)
    assert 0 < sum(plain[image][0] >= 100 for image in mirrored) < len(mirrored)  # not the same half


def test_pixels_stay_with_their_labels():
    pixels, labels = Batches(split(), 4, seed=3)[1]
    np.testing.assert_array_equal(pixels.ravel(), labels)
    assert pixels.dtype == np.uint8
